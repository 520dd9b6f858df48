/* hearth list: the models of the store. */
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "store/store.h"
#include <stdio.h>
#include <time.h>

struct values {
    const char *data_dir;
    bool all, json;
};
const struct opt list_opts[] = {
    {"all", 'a', OPT_FLAG, NULL, "also the models of the catalogue that are not installed",
     offsetof(struct values, all), 0, 0},
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

static int print_json(const struct store_model *m, size_t n)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        jsonw_obj(&w);
        jsonw_kstr(&w, "name", m[i].name);
        jsonw_kbool(&w, "installed", m[i].installed);
        jsonw_kstr(&w, "family", m[i].family);
        jsonw_kstr(&w, "quant", m[i].quant);
        jsonw_kint(&w, "bytes", (int64_t)m[i].bytes);
        jsonw_kint(&w, "parameters", (int64_t)m[i].n_params);
        jsonw_kint(&w, "context", m[i].n_ctx);
        jsonw_kstr(&w, "licence", m[i].licence);
        jsonw_kstr(&w, "sha256", m[i].sha256);
        jsonw_kstr(&w, "source", m[i].source);
        jsonw_kint(&w, "added", m[i].added);
        jsonw_kstr(&w, "good_for", m[i].good_for);
        jsonw_end_obj(&w);
    }
    jsonw_end_arr(&w);
    return out_json(&b);
}

static void print_table(const struct store_model *m, size_t n)
{
    static const char *const columns[] = {"NAME", "FAMILY", "QUANT", ">SIZE", "ADDED", "LICENCE", "GOOD FOR"};
    struct out_table t;
    if (!n) {
        printf("No model is installed. See what there is: hearth list --all\n");
        return;
    }
    out_table_init(&t, columns, 7);
    for (size_t i = 0; i < n; i++) {
        char size[OUT_SHORT], day[16] = "-";
        time_t at = (time_t)m[i].added;
        struct tm tm;
        if (m[i].installed && localtime_r(&at, &tm))
            strftime(day, sizeof day, "%Y-%m-%d", &tm);
        out_table_cell(&t, "%s", m[i].name);
        out_table_cell(&t, "%s", m[i].family[0] ? m[i].family : "-");
        out_table_cell(&t, "%s", m[i].quant[0] ? m[i].quant : "-");
        out_table_cell(&t, "%s", m[i].bytes ? out_bytes(size, m[i].bytes) : "-");
        out_table_cell(&t, "%s", m[i].installed ? day : "to pull");
        out_table_cell(&t, "%s", m[i].licence[0] ? m[i].licence : "-");
        out_table_cell(&t, "%s", m[i].good_for[0] ? m[i].good_for : "-");
    }
    out_table_print(&t);
}

int cmd_list(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct store *s;
    struct store_model *m = NULL;
    struct err e = {0};
    size_t n = 0;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (store_open(&s, v.data_dir, &e))
        return cli_fail(&e);
    if (store_list(s, v.all, &m, &n, &e)) {
        code = cli_fail(&e);
    } else if (v.json) {
        code = print_json(m, n);
    } else {
        print_table(m, n);
        code = CLI_OK;
    }
    mem_free(m);
    store_close(s);
    return code;
}
