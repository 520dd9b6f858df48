/* hearth bench roof: the machine's best, alone. */
#include "base/cpu.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/out.h"
#include <stdio.h>

struct values {
    const char *cpu_mask;
    int threads;
    bool json;
};
const struct opt bench_roof_opts[] = {
    OPT_ROW_THREADS(struct values),
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_JSON(struct values),
    OPT_END,
};

static int print_json(const struct bench_roof *f, const struct bench_reads *m, struct backend *b, const char *level)
{
    struct buf out = {0};
    struct jsonw w;
    jsonw_init(&w, &out);
    jsonw_obj(&w);
    jsonw_kstr(&w, "cpu", cpu_model());
    jsonw_kstr(&w, "level", level);
    jsonw_kint(&w, "threads", backend_threads(b));
    jsonw_kdouble(&w, "read_gb_s", f->read_bytes / 1e9);
    jsonw_kdouble(&w, "int8_gop_s", f->int8_ops / 1e9);
    jsonw_kdouble(&w, "f32_gflop_s", f->f32_ops / 1e9);
    jsonw_kdouble(&w, "kernel_int8_gop_s", f->kernel_int8 / 1e9);
    jsonw_kdouble(&w, "kernel_f32_gflop_s", f->kernel_f32 / 1e9);
    jsonw_key(&w, "reads");
    jsonw_arr(&w);
    for (int i = 0; i < m->n; i++) {
        jsonw_obj(&w);
        jsonw_kstr(&w, "from", m->row[i].name);
        jsonw_kint(&w, "threads", m->row[i].threads);
        jsonw_kint(&w, "streams", m->row[i].streams);
        jsonw_kint(&w, "bytes", (int64_t)m->row[i].bytes);
        jsonw_kdouble(&w, "gb_s", m->row[i].rate / 1e9);
        jsonw_end_obj(&w);
    }
    jsonw_end_arr(&w);
    jsonw_key(&w, "mixes");
    jsonw_obj(&w);
    const char *name;
    double ops;
    for (int i = 0; bench_probe_mix(b, i, &name, &ops) == 0; i++)
        if (ops > 0)
            jsonw_kdouble(&w, name, ops / 1e9);
    jsonw_end_obj(&w);
    jsonw_end_obj(&w);
    return out_json(&out);
}

static void print_more(const struct bench_reads *m, struct backend *b)
{
    char size[OUT_SHORT];
    const char *name;
    double ops;
    printf("\nreading, sums of 64-bit words:\n");
    for (int i = 0; i < m->n; i++)
        printf("  %-9s %2d thread%s, %d stream%s each, %-9s %7.1f GB/s\n", m->row[i].name, m->row[i].threads,
               m->row[i].threads > 1 ? "s" : " ", m->row[i].streams, m->row[i].streams > 1 ? "s" : " ",
               out_bytes(size, m->row[i].bytes), m->row[i].rate / 1e9);
    printf("\narithmetic from registers, all threads:\n");
    for (int i = 0; bench_probe_mix(b, i, &name, &ops) == 0; i++)
        if (ops > 0)
            printf("  %-46s %8.0f GOP/s\n", name, ops / 1e9);
}

int cmd_bench_roof(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct ledger *l = NULL;
    struct backend *b = NULL;
    struct bench_roof f;
    struct bench_reads m;
    struct err e = {0};
    const char *mask_name;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    struct backend_opts o = {.n_threads = v.threads};
    int r = cli_cpu_mask(v.cpu_mask, &mask_name, &o.cpu_mask, &e);
    if (!r && !(r = ledger_new(&l, 0, &e)) && !(r = backend_new(&b, &o, &e)))
        r = bench_roof_measure(b, l, &f, &e);
    if (!r)
        r = bench_roof_reads(b, l, &m, &e);
    if (r) {
        code = cli_fail(&e);
    } else if (v.json) {
        code = print_json(&f, &m, b, cpu_mask_name(o.cpu_mask & cpu_features()));
    } else {
        printf("%s, %d threads, kernels: %s\n", cpu_model(), backend_threads(b),
               cpu_mask_name(o.cpu_mask & cpu_features()));
        printf("read  %7.1f GB/s     memory, one long stream per thread\n", f.read_bytes / 1e9);
        printf("int8  %7.1f GOP/s    arithmetic alone; the best kernel on data in the cache: %.1f\n", f.int8_ops / 1e9,
               f.kernel_int8 / 1e9);
        printf("f32   %7.1f GFLOP/s  arithmetic alone; the f32 kernel on data in the cache: %.1f\n", f.f32_ops / 1e9,
               f.kernel_f32 / 1e9);
        print_more(&m, b);
        code = CLI_OK;
    }
    backend_free(b);
    ledger_free(l);
    return code;
}
