/* model: every listed family builds a checked graph from its tiny file; files that lie about shapes or keys are refused. */
#include "model/model.h"

#include "base/mem.h"
#include "unit/check.h"

static char **paths;
static int n_paths;

static struct model_file *open_tiny(int i)
{
    struct err e = {0};
    struct model_file *f = NULL;
    if (file_open(&f, paths[i], &e)) {
        fprintf(stderr, "%s: %s\n", paths[i], e.msg);
        exit(1);
    }
    return f;
}

static void test_every_family(void)
{
    for (int i = 0; model_family_name(i); i++) {
        bool seen = false;
        for (int j = 0; j < n_paths; j++) {
            struct model_file *f = open_tiny(j);
            struct model_info info;
            struct graph *g = NULL;
            struct err e = {0};
            CHECK_INT(model_read(f, &info, &e), 0);
            if (strcmp(info.family, model_family_name(i)) == 0) {
                seen = true;
                CHECK_INT(model_build(f, &info, 0, &g, &e), 0);
                CHECK(g && g->n_kv == info.n_layer && g->n_vocab == info.n_vocab &&
                      g->kv_class[0].block_bytes + g->kv_class[1].block_bytes > 0);
                CHECK(info.n_params > 0 && info.quant[0]);
                graph_free(g);
            }
            file_close(f);
        }
        if (!seen)
            fprintf(stderr, "no tiny model of the family %s\n", model_family_name(i));
        CHECK(seen);
    }
}

/* Attention keeps to all rows up to the last layer; only what follows works on wanted rows. */
static void test_wanted_rows(void)
{
    for (int j = 0; j < n_paths; j++) {
        struct model_file *f = open_tiny(j);
        struct model_info info;
        struct graph *g = NULL;
        CHECK_INT(model_read(f, &info, NULL), 0);
        CHECK_INT(model_build(f, &info, MODEL_PRECISE, &g, NULL), 0);
        bool wanted = false;
        for (int i = 0; g && i < g->n_node; i++) {
            wanted = wanted || g->node[i].op == OP_SELECT;
            CHECK_INT(g->value[g->node[i].out].wanted_rows, wanted);
            CHECK(g->node[i].op != OP_LINEAR || g->node[i].wide);
        }
        CHECK(wanted);
        graph_free(g);
        file_close(f);
    }
}

static void test_wrong_info(void)
{
    struct model_file *f = open_tiny(0);
    struct model_info info, bad;
    struct graph *g = NULL;
    struct err e = {0};
    CHECK_INT(model_read(f, &info, &e), 0);
    bad = info;
    bad.n_layer++; /* one block more than the file has */
    CHECK_INT(model_build(f, &bad, 0, &g, &e), ERR_FORMAT);
    CHECK(strstr(e.msg, "is missing"));
    bad = info;
    bad.n_ff *= 2;
    CHECK_INT(model_build(f, &bad, 0, &g, &e), ERR_FORMAT);
    CHECK(strstr(e.msg, "expected ["));
    snprintf(bad.family, sizeof bad.family, "parrot");
    CHECK_INT(model_build(f, &bad, 0, &g, &e), ERR_UNSUPPORTED);
    CHECK(g == NULL);
    file_close(f);
}

static void test_no_memory(void)
{
    struct model_file *f = open_tiny(0);
    struct model_info info;
    CHECK_INT(model_read(f, &info, NULL), 0);
    int rc = ERR_NOMEM;
    for (long n = 0; rc && n < 10000; n++) {
        struct graph *g = NULL;
        mem_fail_after(n);
        rc = model_build(f, &info, 0, &g, NULL);
        mem_fail_after(-1);
        CHECK(rc == 0 || (rc == ERR_NOMEM && !g));
        graph_free(g);
    }
    CHECK_INT(rc, 0);
    file_close(f);
}

int main(int argc, char **argv)
{
    paths = argv + 1;
    n_paths = argc - 1;
    if (!n_paths) {
        check_skip("model", "no tiny models were given");
        return check_done();
    }
    RUN(test_every_family);
    RUN(test_wanted_rows);
    RUN(test_wrong_info);
    RUN(test_no_memory);
    return check_done();
}
