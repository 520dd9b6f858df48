/* hearth bench kernels: each kernel alone, beside this core's roof of the same run. */
#include "base/cpu.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "kernel/kernel.h"
#include <stdio.h>

enum { MOST_TOKENS = 1024 };
struct values {
    const char *cpu_mask;
    struct opt_nums tokens;
    bool json, precise;
};
const struct opt bench_kernels_opts[] = {
    {"tokens", 't', OPT_NUMS, "LIST", "tokens of the linear kernels (1,4,16,512)", offsetof(struct values, tokens), 1,
     MOST_TOKENS},
    OPT_ROW_PRECISE(struct values),
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_JSON(struct values),
    OPT_END,
};

struct told {
    const struct bench_roof *roof;
    const char *level;
    int rows;
    bool json;
};

static void tell_json(const struct told *t, const struct bench_kernel *k)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "kernel", k->name);
    jsonw_kstr(&w, "case", k->what);
    jsonw_kstr(&w, "level", t->level);
    jsonw_kdouble(&w, "ns", k->ns);
    jsonw_kdouble(&w, "cycles", k->cycles);
    jsonw_kdouble(&w, "gb_s", k->gb_s);
    jsonw_kdouble(&w, "gop_s", k->gop_s);
    if (k->share > 0) {
        jsonw_kstr(&w, "bound", k->bound);
        jsonw_kdouble(&w, "roof_share", k->share);
    }
    jsonw_end_obj(&w);
    out_json(&b);
}

static int tell(void *arg, const struct bench_kernel *k)
{
    struct told *t = arg;
    t->rows++;
    if (t->json) {
        tell_json(t, k);
    } else {
        printf("| %-17s | %-26s | %12.0f | %13.0f | %7.1f | %7.1f |", k->name, k->what, k->ns, k->cycles, k->gb_s,
               k->gop_s);
        if (k->share > 0)
            printf(" %-9s | %5.0f %% |\n", k->bound, k->share * 100);
        else
            printf(" %-9s | %7s |\n", "-", "-");
    }
    fflush(stdout);
    return cli_interrupted();
}

static int run(struct bench_kernels *b, struct backend *be, struct ledger *l, bool json, struct err *e)
{
    struct bench_roof roof;
    int r = bench_roof_measure(be, l, &roof, e);
    if (r)
        return r;
    struct told t = {.roof = &roof, .level = backend_kernels(be)->level, .json = json};
    b->k = backend_kernels(be);
    b->roof = &roof;
    if (!json)
        printf(
            "%s, kernels: %s; one thread's roof: read %.1f GB/s, int8 %.0f GOP/s, f32 %.0f GFLOP/s\n\n"
            "| %-17s | %-26s | %12s | %13s | %7s | %7s | %-9s | %7s |\n"
            "| ----------------- | -------------------------- | -----------: | ------------: | ------: | ------: | --------- | ------: |\n",
            cpu_model(), t.level, roof.read_bytes / 1e9, roof.int8_ops / 1e9, roof.f32_ops / 1e9, "kernel", "case",
            "ns per call", "cycles", "GB/s", "GOP/s", "bound", "of roof");
    r = bench_kernels_run(b, l, tell, &t, e);
    return r || t.rows ? r : err_set(e, ERR_NOTFOUND, "no kernel has such a name; see all with: hearth bench kernels");
}

int cmd_bench_kernels(const struct command *c, int argc, char **argv)
{
    struct values v = {.tokens = {{1, 4, 16, 512}, 4}};
    struct ledger *l = NULL;
    struct backend *b = NULL;
    struct err e = {0};
    const char *mask_name;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    cli_catch_interrupt();
    struct backend_opts o = {.n_threads = 1};
    struct bench_kernels k = {.names = (const char *const *)argv,
                              .n_names = argc,
                              .tokens = v.tokens.v,
                              .n_tokens = v.tokens.n,
                              .precise = v.precise};
    int r = cli_cpu_mask(v.cpu_mask, &mask_name, &o.cpu_mask, &e);
    if (!r && !(r = ledger_new(&l, 0, &e)) && !(r = backend_new(&b, &o, &e)))
        r = run(&k, b, l, v.json, &e);
    backend_free(b);
    ledger_free(l);
    return r ? cli_fail(&e) : CLI_OK;
}
