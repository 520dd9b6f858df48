/* hearth ps: the running server's /api/status as tables. */
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/out.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

struct values {
    const char *data_dir;
    bool json;
};
const struct opt ps_opts[] = {OPT_ROW_JSON(struct values), OPT_ROW_DATA_DIR(struct values), OPT_END};

static const char *text_of(const cJSON *o, const char *key)
{
    const cJSON *j = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(j) && j->valuestring[0] ? j->valuestring : "-";
}

static double number_of(const cJSON *o, const char *key)
{
    const cJSON *j = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(j) ? j->valuedouble : 0;
}

static void print_models(const cJSON *list)
{
    static const char *const columns[] = {"MODEL",   "STATE",    "FAMILY",   "QUANT",
                                          ">MEMORY", ">CONTEXT", ">RUNNING", ">KEEP"};
    struct out_table t;
    const cJSON *m;
    int shown = 0;
    out_table_init(&t, columns, 8);
    cJSON_ArrayForEach(m, list)
    {
        if (strcmp(text_of(m, "state"), "installed") == 0)
            continue; /* on disk only: that is what `list` is for */
        shown++;
        char size[OUT_SHORT];
        const char *state = text_of(m, "state");
        out_table_cell(&t, "%s", text_of(m, "name"));
        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(m, "waiting")))
            out_table_cell(&t, "waits for memory");
        else if (strcmp(state, "loading") == 0)
            out_table_cell(&t, "loading %.0f %%", number_of(m, "progress") * 100);
        else
            out_table_cell(&t, "%s", state);
        out_table_cell(&t, "%s", text_of(m, "family"));
        out_table_cell(&t, "%s", text_of(m, "quant"));
        out_table_cell(&t, "%s", out_bytes(size, (uint64_t)number_of(m, "bytes")));
        out_table_cell(&t, "%.0f", number_of(m, "n_ctx"));
        out_table_cell(&t, "%.0f", number_of(m, "running"));
        double keep = number_of(m, "keep_alive");
        out_table_cell(&t, "%s", keep < 0 ? "for ever" : out_time(size, keep));
    }
    if (shown)
        out_table_print(&t);
    else
        printf("No model is loaded.\n");
    buf_done(&t.cells);
}

static void print_memory(const cJSON *memory)
{
    static const char *const columns[] = {"OWNER", ">BYTES"};
    char a[OUT_SHORT], b[OUT_SHORT], c[OUT_SHORT], d[OUT_SHORT];
    struct out_table t;
    const cJSON *o;
    printf("\nMemory: %s of %s reserved, %s resident\n", out_bytes(a, (uint64_t)number_of(memory, "used")),
           out_bytes(b, (uint64_t)number_of(memory, "ceiling")), out_bytes(c, (uint64_t)number_of(memory, "rss")));
    if (number_of(memory, "limit") < number_of(memory, "ceiling"))
        printf(
            "The machine is short of memory: the limit is %s now, %s are left outside; models that had to go: %.0f\n",
            out_bytes(a, (uint64_t)number_of(memory, "limit")),
            out_bytes(d, (uint64_t)number_of(memory, "machine_left")), number_of(memory, "models_evicted"));
    out_table_init(&t, columns, 2);
    cJSON_ArrayForEach(o, cJSON_GetObjectItemCaseSensitive(memory, "owners"))
    {
        out_table_cell(&t, "%s", text_of(o, "path"));
        out_table_cell(&t, "%s", out_bytes(a, (uint64_t)number_of(o, "bytes")));
    }
    out_table_print(&t);
}

static void print_cache(const cJSON *cache, const cJSON *totals)
{
    char a[OUT_SHORT];
    double hit = number_of(cache, "hit_tokens"), all = hit + number_of(cache, "missed_tokens");
    printf(
        "\nPrefix cache: %s; %.0f of %.0f prompt tokens found (%.0f %%). Since the start: %.0f preempted, %.0f refused, "
        "%.0f out of time\n",
        out_bytes(a, (uint64_t)number_of(cache, "bytes")), hit, all, all > 0 ? 100 * hit / all : 0,
        number_of(totals, "preempted"), number_of(totals, "refused"), number_of(totals, "timed_out"));
}

int cmd_ps(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct client *client = NULL;
    struct buf body = {0};
    struct err e = {0};
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (client_find(v.data_dir, &client, &e) || client_get(client, "/api/status", &body, &e)) {
        code = cli_fail(&e);
    } else if (v.json) {
        while (body.len && body.data[body.len - 1] == '\n')
            body.len--;
        code = out_json(&body);
    } else {
        cJSON *j = body.data ? cJSON_ParseWithLength(body.data, body.len) : NULL;
        char up[OUT_SHORT];
        const cJSON *q = cJSON_GetObjectItemCaseSensitive(j, "requests");
        printf("Hearth %s at %s, up %s; requests: %.0f running, %.0f waiting\n\n", text_of(j, "version"),
               client_url(client), out_time(up, number_of(j, "uptime_s")), number_of(q, "running"),
               number_of(q, "waiting"));
        print_models(cJSON_GetObjectItemCaseSensitive(j, "models"));
        print_memory(cJSON_GetObjectItemCaseSensitive(j, "memory"));
        print_cache(cJSON_GetObjectItemCaseSensitive(j, "prefix_cache"), cJSON_GetObjectItemCaseSensitive(j, "totals"));
        cJSON_Delete(j);
        code = CLI_OK;
    }
    buf_done(&body);
    client_free(client);
    return code;
}
