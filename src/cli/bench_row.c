/* bench_row: a test's name and its reverse, and one row of a sweep: markdown as llama-bench prints it, or JSON. */
#include "base/cpu.h"
#include "cli/bench.h"
#include "cli/opt.h"
#include "cli/out.h"
#include <stdio.h>
#include <string.h>

void bench_row_label(const struct bench_test *t, char out[BENCH_LABEL])
{
    int n = snprintf(out, BENCH_LABEL, "%s%d", t->decode ? "tg" : "pp", t->n);
    if (t->depth)
        n += snprintf(out + n, BENCH_LABEL - (size_t)n, " @ d%d", t->depth);
    if (t->batch > 1)
        snprintf(out + n, BENCH_LABEL - (size_t)n, " x %d", t->batch);
}

static bool number(const char **p, int least, int most, int *out)
{
    long v = 0;
    const char *s = *p;
    for (; *s >= '0' && *s <= '9' && v <= most; s++)
        v = v * 10 + (*s - '0');
    bool ok = s != *p && v >= least && v <= most;
    *out = (int)v;
    *p = s;
    return ok;
}

static const char *skip(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

int bench_row_parse(const char *text, struct bench_test *t, struct err *e)
{
    const char *p = skip(text);
    *t = (struct bench_test){.batch = 1, .decode = p[0] == 't'};
    bool ok = strncmp(p, "pp", 2) == 0 || strncmp(p, "tg", 2) == 0;
    p += ok ? 2 : 0;
    ok = ok && number(&p, 1, 1 << 20, &t->n);
    p = skip(p);
    if (ok && p[0] == '@') {
        p = skip(p + 1);
        ok = *p++ == 'd' && number(&p, 0, 1 << 20, &t->depth);
        p = skip(p);
    }
    if (ok && p[0] == 'x') {
        p = skip(p + 1);
        ok = number(&p, 1, 1024, &t->batch) && (t->batch == 1 || t->decode);
        p = skip(p);
    }
    if (!ok || (*p && *p != '\n' && *p != '\r'))
        return err_set(e, ERR_USAGE, "\"%.*s\" is no test; say pp512, tg64, \"pp512 @ d8192\" or \"tg64 x 4\"",
                       (int)strcspn(text, "\r\n"), text);
    return 0;
}

void bench_row_head(bool against)
{
    printf("| %-26s | %9s | %8s | %-10s | %7s | %-24s | %17s | %-9s | %7s |%s\n", "model", "size", "params", "backend",
           "threads", "test", "t/s", "bound", "of roof", against ? " against the record      |" : "");
    printf("| -------------------------- | --------: | -------: | ---------- | ------: | ------------------------ | "
           "----------------: | --------- | ------: |%s\n",
           against ? " ----------------------- |" : "");
}

void bench_row_print(const struct bench_row *r, const struct bench_against *a)
{
    char label[BENCH_LABEL], test[BENCH_LABEL + 24], size[OUT_SHORT], rate[40], name[64], params[24], backend[24];
    double n = (double)r->m->info.n_params;
    bench_row_label(&r->test, label);
    bool other = strcmp(r->kv, "F16") != 0;
    snprintf(test, sizeof test, "%s%s%s%s", label, r->precise ? " precise" : "", other ? " kv " : "",
             other ? r->kv : "");
    snprintf(rate, sizeof rate, "%.2f ± %.2f", r->rate, r->sd);
    snprintf(name, sizeof name, "%s %s", r->model, r->m->info.quant);
    snprintf(params, sizeof params, n >= 1e9 ? "%.2f B" : "%.2f M", n >= 1e9 ? n / 1e9 : n / 1e6);
    snprintf(backend, sizeof backend, "CPU %s", r->level);
    printf("| %-26s | %9s | %8s | %-10s | %7d | %-24s | %18s | %-9s | %5.0f %% |", name,
           out_bytes(size, r->m->weights_bytes), params, backend, backend_threads(r->m->backend), test, rate, r->bound,
           r->share * 100);
    if (a)
        printf(" %.3fx (± %4.1f %%): %-6s%s |", a->ratio, a->noise * 100, bench_record_verdict(a),
               a->other_cpu ? ", another CPU" : "");
    printf("\n");
    fflush(stdout);
}

void bench_row_json(const struct bench_row *r, struct jsonw *w)
{
    char test[24];
    snprintf(test, sizeof test, "%s%d", r->test.decode ? "tg" : "pp", r->test.n);
    jsonw_kstr(w, "model", r->model);
    jsonw_kstr(w, "quant", r->m->info.quant);
    jsonw_kint(w, "bytes", (int64_t)r->m->weights_bytes);
    jsonw_kint(w, "params", (int64_t)r->m->info.n_params);
    jsonw_kstr(w, "cpu", cpu_model());
    jsonw_kstr(w, "level", r->level);
    jsonw_kint(w, "threads", backend_threads(r->m->backend));
    jsonw_kstr(w, "test", test);
    jsonw_kint(w, "depth", r->test.depth);
    jsonw_kint(w, "batch", r->test.batch);
    jsonw_kbool(w, "precise", r->precise);
    jsonw_kstr(w, "kv", r->kv);
    jsonw_kdouble(w, "tokens_per_s", r->rate);
    jsonw_kdouble(w, "sd", r->sd);
    jsonw_key(w, "rates");
    jsonw_arr(w);
    for (int i = 0; i < r->n_rates; i++)
        jsonw_double(w, r->rates[i]);
    jsonw_end_arr(w);
    jsonw_kstr(w, "bound", r->bound);
    jsonw_kdouble(w, "roof", r->roof);
    jsonw_kdouble(w, "roof_share", r->share);
}
