/* hearth bench sweep: prefill and decode speed of models at several depths and batch sizes, with the share of the machine's
 * roof; kept in a record and compared with one. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/out.h"
#include "kernel/kernel.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct values {
    const char *data_dir, *cpu_mask, *save, *against;
    struct opt_nums pp, tg, depth, batch;
    struct opt_texts kv;
    size_t ceiling;
    int threads, reps;
    bool json, precise, ask;
};
const struct opt bench_sweep_opts[] = {
    {"pp", 'p', OPT_NUMS, "LIST", "prompt lengths; 0: none (512)", offsetof(struct values, pp), 0, 1 << 20},
    {"tg", 'n', OPT_NUMS, "LIST", "tokens to generate; 0: none (64)", offsetof(struct values, tg), 0, 1 << 20},
    {"depth", 'd', OPT_NUMS, "LIST", "positions already in the cache (0,2k,8k)", offsetof(struct values, depth), 0,
     1 << 20},
    {"batch", 'b', OPT_NUMS, "LIST", "sequences that generate together (1)", offsetof(struct values, batch), 1, 1024},
    {"precise", 0, OPT_FLAG, NULL, "each test also with 15-bit activations", offsetof(struct values, precise), 0, 0},
    {"reps", 'r', OPT_INT, "N", "counted runs of each test (3)", offsetof(struct values, reps), 1, BENCH_REPS},
    {"save", 0, OPT_TEXT, "FILE", "keep the rows as a record", offsetof(struct values, save), 0, 0},
    {"against", 0, OPT_TEXT, "FILE", "compare with a record; what exceeds the noise is named",
     offsetof(struct values, against), 0, 0},
    {"ask", 0, OPT_FLAG, NULL, "take tests from stdin, one a line: tg64 @ d8192 x 4", offsetof(struct values, ask), 0,
     0},
    OPT_ROW_THREADS(struct values),
    OPT_ROW_CPU_MASK(struct values),
    {"kv", 0, OPT_TEXTS, "TYPE", "cache of keys and values: f16, bf16, q8_0, f8_e4m3, f32; may be repeated (f16)",
     offsetof(struct values, kv), 0, 0},
    OPT_ROW_CEILING(struct values),
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

struct sweep {
    const struct values *v;
    struct backend *backend;
    struct ledger *ledger;
    struct bench_roof roof;
    struct bench_record *record;
    struct bench_model *m;
    const char *name; /* as the table shows it */
    bool precise, warm;
    int rows;        /* told */
    struct buf kept; /* as JSON lines */
    /* progress of this model */
    bool tty;
    int test, n_tests;
    double planned, done, spent; /* seconds at the roof: all tests, those that ran; seconds these took */
};

static double at_roof(const struct sweep *s, const struct bench_test *t, const char **bound)
{
    struct bench_cost cost;
    double seconds;
    bench_cost(s->m, t, &cost);
    const char *b = bench_bound(&cost, &s->roof, &seconds);
    if (bound)
        *bound = b;
    return seconds;
}

static void progress(const struct sweep *s, const struct bench_test *t)
{
    char label[BENCH_LABEL], left[OUT_SHORT] = "";
    if (s->v->ask)
        return;
    bench_row_label(t, label);
    fprintf(stderr, "%s%s: test %d of %d, %s%s", s->tty ? "\r\033[K" : "", s->name, s->test, s->n_tests, label,
            s->precise ? " precise" : "");
    if (s->done > 0)
        fprintf(stderr, ", about %s left", out_time(left, s->spent / s->done * (s->planned - s->done)));
    fprintf(stderr, "%s", s->tty ? "" : "\n");
}

static void progress_clear(const struct sweep *s)
{
    if (s->tty && !s->v->ask)
        fprintf(stderr, "\r\033[K");
}

static double roof_of(const struct sweep *s, const char *bound)
{
    return bound[0] == 'b' ? s->roof.read_bytes : bound[0] == 'i' ? s->roof.int8_ops : s->roof.f32_ops;
}

/* Prints the row, keeps it for --save. */
static int tell(struct sweep *s, const struct bench_row *row, struct err *e)
{
    struct bench_against a;
    struct buf line = {0};
    struct jsonw w;
    bool found = s->record && bench_record_find(s->record, row, &a);
    s->rows++;
    if (!s->v->json)
        bench_row_print(row, found ? &a : NULL);
    jsonw_init(&w, &line);
    jsonw_obj(&w);
    bench_row_json(row, &w);
    if (s->v->save && !line.failed) {
        buf_add(&s->kept, line.data, line.len);
        buf_add(&s->kept, "}\n", 2);
    }
    if (found) {
        jsonw_key(&w, "against");
        jsonw_obj(&w);
        jsonw_kdouble(&w, "tokens_per_s", a.rate);
        jsonw_kdouble(&w, "ratio", a.ratio);
        jsonw_kdouble(&w, "noise", a.noise);
        jsonw_kstr(&w, "verdict", bench_record_verdict(&a));
        jsonw_kbool(&w, "other_cpu", a.other_cpu);
        jsonw_end_obj(&w);
    }
    jsonw_end_obj(&w);
    if (line.failed || s->kept.failed) {
        buf_done(&line);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    if (s->v->json)
        return out_json(&line) == CLI_OK ? 0 : err_set(e, ERR_IO, "cannot write the output");
    buf_done(&line);
    return 0;
}

static int run_test(struct sweep *s, const struct bench_test *t, struct err *e)
{
    struct bench_row row = {.m = s->m, .model = s->name, .level = backend_kernels(s->backend)->level, .test = *t};
    char label[BENCH_LABEL];
    bench_row_label(t, label);
    s->test++;
    progress(s, t);
    double from = clock_s(), best = at_roof(s, t, &row.bound);
    int r = bench_run(s->m, t, (struct bench_reps){s->v->reps, s->v->ask && s->warm}, row.rates, e);
    progress_clear(s);
    s->spent += clock_s() - from;
    s->done += best;
    s->warm = true;
    if ((r == ERR_LIMIT || r == ERR_NOMEM) && !s->v->ask) { /* the other tests may still fit */
        cli_error(CLI_FAILED, "%s %s left out: %s", s->name, label, e->msg);
        return 0;
    }
    if (r)
        return r;
    double tokens = (double)t->n * t->batch;
    row.n_rates = s->v->reps;
    for (int i = 0; i < row.n_rates; i++)
        row.rates[i] = tokens / row.rates[i];
    row.precise = s->precise;
    row.kv = s->m->graph->n_kv ? dtype_info(s->m->graph->kv[0].dtype)->name : "none";
    row.sd = bench_deviation(row.rates, row.n_rates);
    row.rate = bench_median(row.rates, row.n_rates);
    row.share = best * row.rate / tokens;
    row.roof = roof_of(s, row.bound);
    return tell(s, &row, e);
}

/* All tests of the options, in the order of the table. */
static int list_tests(const struct values *v, struct bench_test *t)
{
    int n = 0;
    for (size_t d = 0; d < v->depth.n; d++) {
        for (size_t i = 0; i < v->pp.n; i++)
            if (v->pp.v[i])
                t[n++] = (struct bench_test){.n = (int)v->pp.v[i], .depth = (int)v->depth.v[d], .batch = 1};
        for (size_t i = 0; i < v->tg.n * v->batch.n; i++)
            if (v->tg.v[i / v->batch.n])
                t[n++] = (struct bench_test){.decode = true,
                                             .n = (int)v->tg.v[i / v->batch.n],
                                             .depth = (int)v->depth.v[d],
                                             .batch = (int)v->batch.v[i % v->batch.n]};
    }
    return n;
}

static int run_list(struct sweep *s, struct err *e)
{
    const struct values *v = s->v;
    struct bench_test *t = mem_calloc(v->depth.n * (v->pp.n + v->tg.n * v->batch.n), sizeof *t);
    int r = 0;
    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->n_tests = list_tests(v, t);
    s->test = 0;
    s->planned = s->done = s->spent = 0;
    for (int i = 0; i < s->n_tests; i++)
        s->planned += at_roof(s, &t[i], NULL);
    for (int i = 0; i < s->n_tests && !r; i++)
        r = run_test(s, &t[i], e);
    mem_free(t);
    return r;
}

/* --ask: one test a line, answered at once; `roof` measures the machine again. For scripts that interleave two programs. */
static int run_asked(struct sweep *s, struct err *e)
{
    char line[200];
    int r = 0;
    printf("{\"ready\":true,\"load_s\":%.4f,\"file_bytes\":%zu}\n", s->m->load_s, s->m->file_bytes);
    fflush(stdout);
    while (!r && !cli_interrupted() && fgets(line, sizeof line, stdin)) {
        struct bench_test t;
        if (strncmp(line, "roof", 4) == 0) {
            r = bench_roof_measure(s->backend, s->ledger, &s->roof, e);
            if (!r)
                printf("{\"read_gb_s\":%.3f,\"int8_gop_s\":%.1f,\"f32_gflop_s\":%.1f}\n", s->roof.read_bytes / 1e9,
                       s->roof.int8_ops / 1e9, s->roof.f32_ops / 1e9);
            fflush(stdout);
        } else if (!(r = bench_row_parse(line, &t, e))) {
            r = run_test(s, &t, e);
        }
    }
    return r;
}

/* One model with one set of model_build's flags. */
static int run_model(struct sweep *s, const char *name, unsigned flags, struct err *e)
{
    const struct values *v = s->v;
    struct bench_model m;
    struct bench_open o = {.backend = s->backend, .ledger = s->ledger, .max_batch = 1, .flags = flags};
    char *path = NULL;
    const char *slash = strrchr(name, '/');
    for (size_t i = 0; i < v->batch.n; i++)
        if ((int)v->batch.v[i] > o.max_batch)
            o.max_batch = (int)v->batch.v[i];
    int r = input_model_path(v->data_dir, name, &path, e);
    o.path = path;
    if (!r && !(r = bench_model_open(&m, &o, e))) {
        s->m = &m;
        s->name = slash ? slash + 1 : name;
        s->precise = flags & MODEL_PRECISE;
        s->warm = false;
        r = v->ask ? run_asked(s, e) : run_list(s, e);
        bench_model_close(&m);
    }
    mem_free(path);
    return r;
}

/* Every type of the cache, plain and precise. */
static int run_variants(struct sweep *s, const char *name, struct err *e)
{
    const struct opt_texts *kv = &s->v->kv;
    int r = 0;
    for (size_t i = 0; i < (kv->n ? kv->n : 1) && !r; i++) {
        unsigned flags = 0;
        if (kv->n)
            r = model_kv_flag(kv->v[i], &flags, e);
        if (!r && !(s->v->ask && s->v->precise))
            r = run_model(s, name, flags, e);
        if (!r && s->v->precise)
            r = run_model(s, name, flags | MODEL_PRECISE, e);
    }
    return r;
}

/* What would only be noticed when all has been measured. */
static int check_first(const struct values *v, int n, char **names, struct err *e)
{
    int r = v->save ? fs_can_write(v->save, e) : 0;
    unsigned flags = 0;
    for (size_t i = 0; i < v->kv.n && !r; i++)
        r = model_kv_flag(v->kv.v[i], &flags, e);
    for (int i = 0; i < n && !r; i++) {
        char *path = NULL;
        r = input_model_path(v->data_dir, names[i], &path, e);
        mem_free(path);
    }
    size_t n_pp = 0, n_tg = 0;
    for (size_t i = 0; i < v->pp.n; i++)
        n_pp += v->pp.v[i] > 0;
    for (size_t i = 0; i < v->tg.n; i++)
        n_tg += v->tg.v[i] > 0;
    if (!r && !v->ask && !n_pp && !n_tg)
        return err_set(e, ERR_USAGE, "--pp and --tg leave nothing to measure");
    return r;
}

static int run_models(struct sweep *s, int n, char **names, struct err *e)
{
    int r = bench_roof_measure(s->backend, s->ledger, &s->roof, e);
    if (!r && !s->v->json && !s->v->ask) {
        printf("roof: read %.1f GB/s, int8 %.0f GOP/s, f32 %.0f GFLOP/s\n\n", s->roof.read_bytes / 1e9,
               s->roof.int8_ops / 1e9, s->roof.f32_ops / 1e9);
        bench_row_head(s->record != NULL);
    }
    for (int i = 0; i < n && !r; i++)
        r = run_variants(s, names[i], e);
    if (!r && !s->rows && !s->v->ask)
        r = err_set(e, ERR_LIMIT, "nothing was measured: every test was left out");
    if (!r && s->v->save)
        r = fs_write_atomic(s->v->save, s->kept.data ? s->kept.data : "", s->kept.len, e);
    return r;
}

int cmd_bench_sweep(const struct command *c, int argc, char **argv)
{
    struct values v = {.pp = {{512}, 1}, .tg = {{64}, 1}, .depth = {{0, 2048, 8192}, 3}, .batch = {{1}, 1}, .reps = 3};
    struct sweep s = {.v = &v, .tty = isatty(STDERR_FILENO)};
    struct err e = {0};
    const char *mask_name;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (v.ask && (argc != 1 || v.kv.n > 1))
        return cli_error(CLI_USAGE, "--ask takes one model and one type of cache");
    cli_catch_interrupt();
    struct backend_opts o = {.n_threads = v.threads};
    int r = cli_cpu_mask(v.cpu_mask, &mask_name, &o.cpu_mask, &e);
    if (!r && v.against)
        r = bench_record_open(&s.record, v.against, &e);
    if (!r)
        r = check_first(&v, argc, argv, &e);
    if (!r && !(r = ledger_new(&s.ledger, v.ceiling, &e)) && !(r = backend_new(&s.backend, &o, &e)))
        r = run_models(&s, argc, argv, &e);
    if (r && v.save && s.kept.len)
        cli_error(CLI_FAILED, "no record was saved: the sweep did not finish");
    backend_free(s.backend);
    ledger_free(s.ledger);
    bench_record_free(s.record);
    buf_done(&s.kept);
    return r ? cli_fail(&e) : CLI_OK;
}
