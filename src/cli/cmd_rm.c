/* hearth rm: takes names out of the store. */
#include "cli/commands.h"
#include "cli/out.h"
#include "store/store.h"
#include <stdio.h>

struct values {
    const char *data_dir;
    bool json;
};
const struct opt rm_opts[] = {OPT_ROW_JSON(struct values), OPT_ROW_DATA_DIR(struct values), OPT_END};

static void tell(const char *name, bool json)
{
    if (!json) {
        printf("%s: removed\n", name);
        return;
    }
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "name", name);
    jsonw_kbool(&w, "removed", true);
    jsonw_end_obj(&w);
    out_json(&b);
}

int cmd_rm(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct store *s;
    struct err e = {0};
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (store_open(&s, v.data_dir, &e))
        return cli_fail(&e);
    code = CLI_OK;
    for (int i = 0; i < argc; i++) {
        if (store_rm(s, argv[i], &e))
            code = cli_fail(&e);
        else
            tell(argv[i], v.json);
    }
    store_close(s);
    return code;
}
