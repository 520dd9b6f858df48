/* hearth show: one model's metadata, from the store's JSON, and what its cache of keys and values would take. */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "file/file.h"
#include "graph/graph.h"
#include "kernel/kernel.h"
#include "model/model.h"
#include "store/store.h"
#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct values {
    const char *data_dir;
    bool json;
};
const struct opt show_opts[] = {OPT_ROW_JSON(struct values), OPT_ROW_DATA_DIR(struct values), OPT_END};

/* Values of the file may be long (templates) or hold line ends: one line each, cut with the length told. */
static void print_text(const char *s)
{
    enum { SHOWN = 100 };
    size_t n = strlen(s), i = 0;
    for (; i < n && i < SHOWN; i++) {
        unsigned char ch = (unsigned char)s[i];
        if (ch == '\n')
            fputs("\\n", stdout);
        else if (ch >= 0x20 && ch != 0x7f) /* a file must not steer the terminal */
            putchar(ch);
    }
    while (i < n && ((unsigned char)s[i] & 0xC0) == 0x80)
        putchar(s[i++]); /* the rest of the last character */
    if (i < n)
        printf("... (%zu bytes)", n);
    putchar('\n');
}

static void print_value(const cJSON *j)
{
    char s[OUT_SHORT];
    if (cJSON_IsString(j)) {
        print_text(j->valuestring);
    } else if (cJSON_IsNumber(j) && j->string && strcmp(j->string, "bytes") == 0) {
        printf("%s\n", out_bytes(s, (uint64_t)j->valuedouble));
    } else if (cJSON_IsArray(j) && cJSON_GetArraySize(j) > 8) {
        printf("%d elements\n", cJSON_GetArraySize(j));
    } else {
        char *text = cJSON_PrintUnformatted(j);
        print_text(text ? text : "?");
        cJSON_free(text);
    }
}

static void print_object(const cJSON *o, const char *indent)
{
    int width = 0;
    const cJSON *j;
    cJSON_ArrayForEach(j, o)
    {
        int n = (int)strlen(j->string);
        if (n > width && n < 44)
            width = n;
    }
    cJSON_ArrayForEach(j, o)
    {
        if (cJSON_IsObject(j)) {
            printf("%s%s:\n", indent, j->string);
            print_object(j, "  ");
        } else {
            printf("%s%-*s  ", indent, width, j->string);
            print_value(j);
        }
    }
}

/* ---- the cache ---- */

enum { CACHE_TYPES = 8 };
struct cache_row {
    char type[16];
    size_t token, later; /* bytes of a token, and of one beyond the window */
};
struct cache {
    struct cache_row own, row[CACHE_TYPES]; /* own: without --kv */
    int n, window;                          /* 0: every layer keeps every position */
};

static int cache_row(const struct model_file *f, const struct model_info *m, unsigned flags, struct cache_row *r,
                     struct err *e)
{
    struct graph *g;
    int rc = model_build(f, m, flags, &g, e);
    if (rc)
        return rc;
    size_t all = g->kv_class[0].block_bytes;
    r->later = all / KERNEL_PAGE;
    r->token = (all + g->kv_class[1].block_bytes) / KERNEL_PAGE;
    snprintf(r->type, sizeof r->type, "%s", g->n_kv ? dtype_info(g->kv[0].dtype)->name : "");
    for (char *c = r->type; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    graph_free(g);
    return 0;
}

/* n stays 0 for what is not there, or no model that Hearth runs. */
static void cache_look(struct cache *c, struct store *s, const char *name)
{
    struct model_file *f = NULL;
    struct model_info m;
    struct err e;
    char *path = NULL;
    unsigned flag;
    *c = (struct cache){0};
    if (store_path(s, name, &path, &e) == 0 && file_open(&f, path, &e) == 0 && model_read(f, &m, &e) == 0 &&
        cache_row(f, &m, 0, &c->own, &e) == 0) {
        c->window = c->own.later < c->own.token ? m.window : 0;
        for (int i = 0; c->n < CACHE_TYPES && model_kv_name(i); i++)
            if (model_kv_flag(model_kv_name(i), &flag, &e) == 0 && cache_row(f, &m, flag, &c->row[c->n], &e) == 0)
                c->n++;
    }
    file_close(f);
    mem_free(path);
}

static void cache_print(const struct cache *c)
{
    char a[OUT_SHORT], b[OUT_SHORT];
    printf("kv_cache: %s, %s a token", c->own.type, out_bytes(a, c->own.token));
    if (c->window)
        printf(", %s beyond the window of %d", out_bytes(b, c->own.later), c->window);
    printf("; by --kv:\n");
    for (int i = 0; i < c->n; i++)
        printf("  %-8s  %s\n", c->row[i].type, out_bytes(a, c->row[i].token));
}

static void cache_json(const struct cache *c, struct jsonw *w)
{
    jsonw_key(w, "kv_cache");
    jsonw_obj(w);
    jsonw_kstr(w, "type", c->own.type);
    jsonw_kint(w, "window", c->window);
    jsonw_key(w, "types");
    jsonw_arr(w);
    for (int i = 0; i < c->n; i++) {
        jsonw_obj(w);
        jsonw_kstr(w, "type", c->row[i].type);
        jsonw_kint(w, "token_bytes", (int64_t)c->row[i].token);
        jsonw_kint(w, "token_bytes_beyond_window", (int64_t)c->row[i].later);
        jsonw_end_obj(w);
    }
    jsonw_end_arr(w);
    jsonw_end_obj(w);
}

/* The store's object with one member more. */
static int print_json(const char *json, const struct cache *c)
{
    struct buf b = {0}, more = {0};
    struct jsonw w;
    const char *end = strrchr(json, '}');
    jsonw_init(&w, &more);
    jsonw_obj(&w);
    cache_json(c, &w);
    jsonw_end_obj(&w);
    if (!end || !c->n || more.failed) {
        buf_done(&more);
        printf("%s\n", json);
        return CLI_OK;
    }
    buf_printf(&b, "%.*s,%s", (int)(end - json), json, more.data + 1);
    buf_done(&more);
    return out_json(&b);
}

int cmd_show(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct store *s;
    struct err e = {0};
    struct cache cache;
    char *json = NULL;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (store_open(&s, v.data_dir, &e))
        return cli_fail(&e);
    code = CLI_OK;
    if (store_show(s, argv[0], &json, &e)) {
        code = cli_fail(&e);
    } else {
        cache_look(&cache, s, argv[0]);
        if (v.json) {
            code = print_json(json, &cache);
        } else {
            cJSON *o = cJSON_Parse(json);
            print_object(o, "");
            cJSON_Delete(o);
            if (cache.n)
                cache_print(&cache);
        }
    }
    mem_free(json);
    store_close(s);
    return code;
}
