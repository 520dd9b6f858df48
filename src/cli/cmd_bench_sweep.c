/* hearth bench sweep: prefill and decode speed at several depths and batch sizes, with the share of the machine's roof. */
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/out.h"
#include <stdio.h>
#include <string.h>

enum { MAX_REPS = 50 };

struct values {
    const char *data_dir, *cpu_mask, *kv;
    struct opt_nums pp, tg, depth, batch;
    size_t ceiling;
    int threads, reps;
    bool json;
};
const struct opt bench_sweep_opts[] = {
    {"pp", 'p', OPT_NUMS, "LIST", "prompt lengths; 0: none (512)", offsetof(struct values, pp), 0, 1 << 20},
    {"tg", 'n', OPT_NUMS, "LIST", "tokens to generate; 0: none (64)", offsetof(struct values, tg), 0, 1 << 20},
    {"depth", 'd', OPT_NUMS, "LIST", "positions already in the cache (0,2k,8k)", offsetof(struct values, depth), 0,
     1 << 20},
    {"batch", 'b', OPT_NUMS, "LIST", "sequences that generate together (1)", offsetof(struct values, batch), 1, 1024},
    {"reps", 'r', OPT_INT, "N", "counted runs of each test (3)", offsetof(struct values, reps), 1, MAX_REPS},
    OPT_ROW_THREADS(struct values),
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_KV(struct values),
    OPT_ROW_CEILING(struct values),
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

struct row {
    const char *model;
    const struct bench_model *m;
    struct bench_test test;
    double rate, sd, share;
    const char *bound;
};

static void print_row(const struct row *r, bool json)
{
    char test[40], size[OUT_SHORT], rate[40];
    int n = snprintf(test, sizeof test, "%s%d", r->test.decode ? "tg" : "pp", r->test.n);
    if (!json) {
        if (r->test.depth)
            n += snprintf(test + n, sizeof test - (size_t)n, " @ d%d", r->test.depth);
        if (r->test.batch > 1)
            snprintf(test + n, sizeof test - (size_t)n, " x %d", r->test.batch);
        snprintf(rate, sizeof rate, "%.2f ± %.2f", r->rate, r->sd);
        printf("| %-22s | %-7s | %9s | %7d | %-16s | %17s | %-9s | %6.0f %% |\n", r->model, r->m->info.quant,
               out_bytes(size, r->m->weights_bytes), backend_threads(r->m->backend), test, rate, r->bound,
               r->share * 100);
        fflush(stdout);
        return;
    }
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", r->model);
    jsonw_kstr(&w, "quant", r->m->info.quant);
    jsonw_kint(&w, "threads", backend_threads(r->m->backend));
    jsonw_kstr(&w, "test", test);
    jsonw_kint(&w, "depth", r->test.depth);
    jsonw_kint(&w, "batch", r->test.batch);
    jsonw_kdouble(&w, "tokens_per_s", r->rate);
    jsonw_kdouble(&w, "sd", r->sd);
    jsonw_kstr(&w, "bound", r->bound);
    jsonw_kdouble(&w, "roof_share", r->share);
    jsonw_end_obj(&w);
    out_json(&b);
}

static int run_test(struct bench_model *m, const struct values *v, const struct bench_roof *roof, struct row *row,
                    struct err *e)
{
    double s[MAX_REPS], at_roof;
    struct bench_cost cost;
    int r = bench_run(m, &row->test, v->reps, s, e);
    if (r == ERR_LIMIT || r == ERR_NOMEM) { /* the other tests may still fit */
        cli_error(CLI_FAILED, "%s %s%d left out: %s", row->model, row->test.decode ? "tg" : "pp", row->test.n, e->msg);
        return 0;
    }
    if (r)
        return r;
    double tokens = (double)row->test.n * row->test.batch;
    for (int i = 0; i < v->reps; i++)
        s[i] = tokens / s[i];
    row->sd = bench_deviation(s, v->reps);
    row->rate = bench_median(s, v->reps);
    bench_cost(m, &row->test, &cost);
    row->bound = bench_bound(&cost, roof, &at_roof);
    row->share = at_roof * row->rate / tokens;
    print_row(row, v->json);
    return 0;
}

static int run_model(struct bench_model *m, const char *name, const struct values *v, const struct bench_roof *roof,
                     struct err *e)
{
    int r = 0;
    for (size_t d = 0; d < v->depth.n && !r; d++) {
        for (size_t i = 0; i < v->pp.n && !r; i++) {
            struct row row = {
                .model = name, .m = m, .test = {.n = (int)v->pp.v[i], .depth = (int)v->depth.v[d], .batch = 1}};
            if (row.test.n)
                r = run_test(m, v, roof, &row, e);
        }
        for (size_t i = 0; i < v->tg.n * v->batch.n && !r; i++) {
            struct row row = {.model = name,
                              .m = m,
                              .test = {.decode = true,
                                       .n = (int)v->tg.v[i / v->batch.n],
                                       .depth = (int)v->depth.v[d],
                                       .batch = (int)v->batch.v[i % v->batch.n]}};
            if (row.test.n)
                r = run_test(m, v, roof, &row, e);
        }
    }
    return r;
}

static int bench_one(struct backend *b, struct ledger *l, const char *name, const struct values *v, struct err *e)
{
    struct bench_model m;
    struct bench_roof roof;
    char *path = NULL;
    int max_batch = 1;
    for (size_t i = 0; i < v->batch.n; i++)
        if ((int)v->batch.v[i] > max_batch)
            max_batch = (int)v->batch.v[i];
    struct bench_open o = {.backend = b, .ledger = l, .max_batch = max_batch};
    int r = v->kv ? model_kv_flag(v->kv, &o.flags, e) : 0;
    if (!r)
        r = input_model_path(v->data_dir, name, &path, e);
    o.path = path;
    if (!r && !(r = bench_roof_measure(b, l, &roof, e)) && !(r = bench_model_open(&m, &o, e))) {
        const char *slash = strrchr(name, '/');
        if (!v->json)
            printf(
                "\nroof: read %.1f GB/s, int8 %.0f GOP/s, f32 %.0f GFLOP/s\n\n"
                "| %-22s | %-7s | %9s | %7s | %-16s | %17s | %-9s | %8s |\n"
                "| ---------------------- | ------- | --------: | ------: | ---------------- | ----------------: | --------- | -------: |\n",
                roof.read_bytes / 1e9, roof.int8_ops / 1e9, roof.f32_ops / 1e9, "model", "quant", "size", "threads",
                "test", "t/s", "bound", "of roof");
        r = run_model(&m, slash ? slash + 1 : name, v, &roof, e);
        bench_model_close(&m);
    }
    mem_free(path);
    return r;
}

int cmd_bench_sweep(const struct command *c, int argc, char **argv)
{
    struct values v = {.pp = {{512}, 1}, .tg = {{64}, 1}, .depth = {{0, 2048, 8192}, 3}, .batch = {{1}, 1}, .reps = 3};
    struct ledger *l = NULL;
    struct backend *b = NULL;
    struct err e = {0};
    const char *mask_name;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    cli_catch_interrupt();
    struct backend_opts o = {.n_threads = v.threads};
    int r = cli_cpu_mask(v.cpu_mask, &mask_name, &o.cpu_mask, &e);
    if (!r && !(r = ledger_new(&l, v.ceiling, &e)))
        r = backend_new(&b, &o, &e);
    for (int i = 0; i < argc && !r; i++)
        r = bench_one(b, l, argv[i], &v, &e);
    backend_free(b);
    ledger_free(l);
    return r ? cli_fail(&e) : CLI_OK;
}
