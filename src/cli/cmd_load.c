/* hearth load, hearth unload: one model into or out of the running server's memory. */
#include "base/clock.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/out.h"
#include <stdio.h>

struct values {
    const char *data_dir, *keep_alive;
    bool json;
};
const struct opt load_opts[] = {{"keep-alive", 0, OPT_TEXT, "TIME",
                                 "how long it stays when idle: 5m, 2h, 0; -1: until memory is needed",
                                 offsetof(struct values, keep_alive), 0, 0},
                                OPT_ROW_JSON(struct values),
                                OPT_ROW_DATA_DIR(struct values),
                                OPT_END};
const struct opt unload_opts[] = {OPT_ROW_JSON(struct values), OPT_ROW_DATA_DIR(struct values), OPT_END};

static int post_name(const struct values *v, const char *path, const char *name, struct buf *answer, struct err *e)
{
    struct client *client = NULL;
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", name);
    if (v->keep_alive)
        jsonw_kstr(&w, "keep_alive", v->keep_alive);
    jsonw_end_obj(&w);
    int r = b.failed ? err_set(e, ERR_NOMEM, "out of memory") : client_find(v->data_dir, &client, e);
    if (!r)
        r = client_post(client, path, b.data, answer, e);
    buf_done(&b);
    client_free(client);
    return r;
}

static int load_or_unload(const struct command *c, int argc, char **argv, const char *path, const char *done)
{
    struct values v = {0};
    struct buf answer = {0};
    struct err e = {0};
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    double from = clock_s();
    cli_catch_interrupt();
    if (post_name(&v, path, argv[0], &answer, &e)) {
        code = cli_fail(&e);
    } else if (v.json) {
        while (answer.len && answer.data[answer.len - 1] == '\n')
            answer.len--;
        return out_json(&answer);
    } else {
        printf("%s: %s in %.1f s\n", argv[0], done, clock_s() - from);
        code = CLI_OK;
    }
    buf_done(&answer);
    return code;
}

int cmd_load(const struct command *c, int argc, char **argv)
{
    return load_or_unload(c, argc, argv, "/api/load", "loaded");
}

int cmd_unload(const struct command *c, int argc, char **argv)
{
    return load_or_unload(c, argc, argv, "/api/unload", "unloaded");
}
