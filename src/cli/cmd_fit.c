/* hearth fit: what a model would take and who would have to go for it, before it is loaded: asked of the running server, whose memory
 * and options count then, or worked out alone. Exit 1 when it does not fit. */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "hearth.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

struct values {
    const char *data_dir, *cpu_mask;
    size_t ceiling, ctx;
    struct opt_texts kv, draft;
    int threads, parallel;
    bool json, local, precise;
};
const struct opt fit_opts[] = {
    {"ctx", 'c', OPT_SIZE, "N", "tokens of each request, prompt and answer (4096, or the model's context)",
     offsetof(struct values, ctx), 1, 1 << 30},
    {"parallel", 0, OPT_INT, "N", "requests at once (1)", offsetof(struct values, parallel), 1, 4096},
    {"local", 0, OPT_FLAG, NULL, "do not ask a running server", offsetof(struct values, local), 0, 0},
    OPT_ROW_CEILING(struct values),
    OPT_ROW_THREADS(struct values),
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_PRECISE(struct values),
    OPT_ROW_KVS(struct values),
    OPT_ROW_DRAFT(struct values),
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

static int ask_server(struct client *client, const struct values *v, const char *model, struct buf *answer,
                      struct err *e)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", model);
    if (v->ctx)
        jsonw_kint(&w, "ctx", (int64_t)v->ctx);
    jsonw_kint(&w, "parallel", v->parallel);
    jsonw_end_obj(&w);
    int r = b.failed ? err_set(e, ERR_NOMEM, "out of memory") : client_post(client, "/api/fit", b.data, answer, e);
    buf_done(&b);
    return r;
}

static int ask_alone(const struct values *v, const char *mask, const char *model, struct buf *answer, struct err *e)
{
    struct hearth *h;
    struct hearth_fit f;
    int r = hearth_open(&h,
                        &(struct hearth_opts){.data_dir = v->data_dir,
                                              .threads = v->threads,
                                              .cpu_mask = mask,
                                              .precise = v->precise,
                                              .kv = v->kv.v,
                                              .n_kv = v->kv.n,
                                              .draft = v->draft.v,
                                              .n_draft = v->draft.n},
                        e);
    if (r)
        return r;
    if ((r = hearth_fit(h, model, (int)v->ctx, v->parallel, &f, e)) == 0) {
        if (v->ceiling) /* looking must not fail where loading would */
            hearth_fit_under(&f, v->ceiling);
        hearth_fit_json(&f, answer);
    }
    hearth_close(h);
    return r;
}

static double number(const cJSON *o, const char *key)
{
    const cJSON *j = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(j) ? j->valuedouble : 0;
}

static const char *size_of(const cJSON *o, const char *key, char s[OUT_SHORT])
{
    return out_bytes(s, (uint64_t)number(o, key));
}

static void add_part(struct out_table *table, const cJSON *o, const char *key, const char *whose, const char *label)
{
    char s[OUT_SHORT];
    out_table_cell(table, "%s%s", whose, label);
    out_table_cell(table, "%s", size_of(o, key, s));
}

/* o: the answer, or what it says of the draft. */
static void add_parts(struct out_table *table, const cJSON *o, const cJSON *all, const char *whose)
{
    static const struct {
        const char *key, *label;
    } rows[] = {{"weights", "weights"},
                {"scratch", "workspace"},
                {"text", "tokeniser"},
                {"header", "names and sizes"},
                {"kv", "KV cache"},
                {"rows", "answers' logits"},
                {"requests", "the requests' tokens"}};
    char s[OUT_SHORT];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!cJSON_GetObjectItemCaseSensitive(o, rows[i].key))
            continue; /* a draft has none */
        add_part(table, o, rows[i].key, whose, rows[i].label);
        if (strcmp(rows[i].key, "kv") == 0)
            out_table_cell(table, "%.0f x %.0f tokens, %s a token", number(all, "parallel"), number(all, "ctx"),
                           size_of(o, "kv_token", s));
        else
            out_table_cell(table, "%s", "");
    }
}

static void print_parts(const cJSON *o)
{
    static const char *const columns[] = {"PART", ">BYTES", "NOTE"};
    const cJSON *draft = cJSON_GetObjectItemCaseSensitive(o, "draft");
    double load = number(o, "load"), next = number(draft, "load");
    char s[OUT_SHORT];
    struct out_table table;
    out_table_init(&table, columns, 3);
    add_parts(&table, o, o, "");
    add_parts(&table, draft, o, "draft's ");
    add_part(&table, o, "total", "", "total");
    out_table_cell(&table, "and %s more while it loads", out_bytes(s, (uint64_t)(load > next ? load : next)));
    out_table_print(&table);
}

static void print_verdict(const cJSON *o)
{
    char a[OUT_SHORT], b[OUT_SHORT], c[OUT_SHORT];
    const cJSON *go = cJSON_GetObjectItemCaseSensitive(o, "go"), *m;
    double left = number(o, "ceiling") - number(o, "used");
    printf("\n%s of the ceiling of %s free%s. ", out_bytes(a, (uint64_t)(left > 0 ? left : 0)),
           size_of(o, "ceiling", b),
           cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "resident")) ? ", and it is loaded already" : "");
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "fits"))) {
        printf("It does not fit: %s are lacking; idle models hold %s, busy ones %s.\n", size_of(o, "need", a),
               size_of(o, "go_bytes", b), size_of(o, "busy", c));
        return;
    }
    if (!cJSON_GetArraySize(go)) {
        printf("It fits.\n");
        return;
    }
    printf("It fits when these go (%s):", size_of(o, "go_bytes", a));
    cJSON_ArrayForEach(m, go) printf(" %s", m->valuestring ? m->valuestring : "?");
    printf("\n");
}

static int show(const struct values *v, struct buf *answer)
{
    cJSON *o = answer->data ? cJSON_ParseWithLength(answer->data, answer->len) : NULL;
    bool fits = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "fits"));
    int code = CLI_OK;
    if (v->json) {
        while (answer->len && answer->data[answer->len - 1] == '\n')
            answer->len--;
        code = out_json(answer);
    } else {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(o, "model");
        const cJSON *draft = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(o, "draft"), "model");
        printf("%s%s%s\n\n", cJSON_IsString(name) ? name->valuestring : "?",
               cJSON_IsString(draft) ? " with the draft " : "", cJSON_IsString(draft) ? draft->valuestring : "");
        print_parts(o);
        print_verdict(o);
    }
    cJSON_Delete(o);
    return code == CLI_OK && !fits ? CLI_FAILED : code;
}

int cmd_fit(const struct command *c, int argc, char **argv)
{
    struct values v = {.parallel = 1};
    struct client *client = NULL;
    struct buf answer = {0};
    struct err e = {0};
    const char *mask_name;
    unsigned mask;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (cli_cpu_mask(v.cpu_mask, &mask_name, &mask, &e))
        return cli_fail(&e);
    /* a running server has its own ceiling, threads, kernels and drafts, and takes no paths */
    bool alone =
        v.local || v.ceiling || v.threads || v.cpu_mask || v.precise || v.kv.n || v.draft.n || strchr(argv[0], '/');
    int r = 0;
    if (alone || client_find(v.data_dir, &client, NULL))
        r = ask_alone(&v, mask_name, argv[0], &answer, &e);
    else
        r = ask_server(client, &v, argv[0], &answer, &e);
    code = r ? cli_fail(&e) : show(&v, &answer);
    buf_done(&answer);
    client_free(client);
    return code;
}
