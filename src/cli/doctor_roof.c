/* doctor_roof: see doctor.h. A model's speed is bounded by the weights that every token reads, or by the arithmetic of its layers. */
#include "base/mem.h"
#include "cli/doctor.h"
#include "cli/out.h"
#include "store/store.h"
#include <stdio.h>
#include <string.h>

static bool of_memory(const struct doctor_roof *r, int i)
{
    return strcmp(r->reads.row[i].name, "memory") == 0;
}

static int measure(struct doctor_roof *r, struct backend *b, struct ledger *l, struct err *e)
{
    int rc = bench_roof_measure(b, l, &r->best, e);
    if (!rc)
        rc = bench_roof_reads(b, l, &r->reads, e);
    for (int i = 0; !rc && i < r->reads.n; i++)
        if (of_memory(r, i) && r->reads.row[i].threads == r->threads && r->reads.row[i].rate > r->best.read_bytes)
            r->best.read_bytes = r->reads.row[i].rate;
    return rc;
}

static double rate_of(const struct bench_model *m, const struct bench_roof *best, struct bench_test t, double *bytes)
{
    struct bench_cost cost;
    double seconds;
    bench_cost(m, &t, &cost);
    bench_bound(&cost, best, &seconds);
    *bytes = cost.bytes;
    return seconds > 0 ? t.n / seconds : 0;
}

/* One that cannot be read or run has no row: `hearth show` tells why. */
static void add_model(struct doctor_roof *r, struct backend *b, const char *path, const char *name)
{
    struct bench_model m;
    double prompt_bytes;
    if (bench_model_look(&m, &(struct bench_open){.backend = b, .path = path}, NULL))
        return;
    struct doctor_model *d = &r->model[r->n_model++];
    snprintf(d->name, sizeof d->name, "%s", name);
    d->decode_s = rate_of(&m, &r->best, (struct bench_test){.decode = true, .n = 1, .batch = 1}, &d->token_bytes);
    d->prefill_s = rate_of(&m, &r->best, (struct bench_test){.n = DOCTOR_PROMPT, .batch = 1}, &prompt_bytes);
    bench_model_close(&m);
}

static int models(struct doctor_roof *r, struct backend *b, const char *data_dir, struct err *e)
{
    struct store *s;
    struct store_model *m = NULL;
    size_t n = 0;
    int rc = store_open(&s, data_dir, e);
    if (rc)
        return rc;
    rc = store_list(s, false, &m, &n, e);
    if (!rc && n && !(r->model = mem_calloc(n, sizeof *r->model)))
        rc = err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; !rc && i < n; i++) {
        char *path;
        if (store_path(s, m[i].name, &path, NULL) == 0)
            add_model(r, b, path, m[i].name);
        mem_free(path);
    }
    mem_free(m);
    store_close(s);
    return rc;
}

int doctor_roof(struct doctor_roof *out, unsigned cpu_mask, const char *data_dir, struct err *e)
{
    struct backend *b = NULL;
    struct ledger *l = NULL;
    *out = (struct doctor_roof){0};
    int rc = ledger_new(&l, 0, e);
    if (!rc)
        rc = backend_new(&b, &(struct backend_opts){.cpu_mask = cpu_mask}, e);
    if (!rc) {
        out->threads = backend_threads(b);
        rc = measure(out, b, l, e);
    }
    if (!rc) {
        out->known = true;
        rc = models(out, b, data_dir, e);
    }
    backend_free(b);
    ledger_free(l);
    return rc;
}

void doctor_roof_print(const struct doctor_roof *r)
{
    char size[OUT_SHORT];
    if (!r->known)
        return;
    printf("Roof      reading");
    for (int i = 0; i < r->reads.n; i++)
        if (of_memory(r, i) && r->reads.row[i].threads < r->threads)
            printf(" %.1f GB/s by %d thread%s,", r->reads.row[i].rate / 1e9, r->reads.row[i].threads,
                   r->reads.row[i].threads > 1 ? "s" : "");
    printf(" %.1f GB/s by all %d; int8 %.0f GOP/s, f32 %.0f GFLOP/s\n", r->best.read_bytes / 1e9, r->threads,
           r->best.int8_ops / 1e9, r->best.f32_ops / 1e9);
    for (size_t i = 0; i < r->n_model; i++)
        printf("%s%s: at most %.0f tokens/s (%s read for each), prompts %.0f tokens/s\n",
               i ? "          " : "At best   ", r->model[i].name, r->model[i].decode_s,
               out_bytes(size, (uint64_t)r->model[i].token_bytes), r->model[i].prefill_s);
}

void doctor_roof_json(const struct doctor_roof *r, struct jsonw *w)
{
    jsonw_key(w, "roof");
    jsonw_obj(w);
    jsonw_kint(w, "threads", r->threads);
    jsonw_kdouble(w, "read_gb_s", r->best.read_bytes / 1e9);
    jsonw_kdouble(w, "int8_gop_s", r->best.int8_ops / 1e9);
    jsonw_kdouble(w, "f32_gflop_s", r->best.f32_ops / 1e9);
    jsonw_key(w, "reads");
    jsonw_arr(w);
    for (int i = 0; i < r->reads.n; i++)
        if (of_memory(r, i)) {
            jsonw_obj(w);
            jsonw_kint(w, "threads", r->reads.row[i].threads);
            jsonw_kint(w, "streams", r->reads.row[i].streams);
            jsonw_kdouble(w, "gb_s", r->reads.row[i].rate / 1e9);
            jsonw_end_obj(w);
        }
    jsonw_end_arr(w);
    jsonw_end_obj(w);
    jsonw_key(w, "models");
    jsonw_arr(w);
    for (size_t i = 0; i < r->n_model; i++) {
        jsonw_obj(w);
        jsonw_kstr(w, "name", r->model[i].name);
        jsonw_kint(w, "token_bytes", (int64_t)r->model[i].token_bytes);
        jsonw_kdouble(w, "decode_tokens_s", r->model[i].decode_s);
        jsonw_kdouble(w, "prefill_tokens_s", r->model[i].prefill_s);
        jsonw_end_obj(w);
    }
    jsonw_end_arr(w);
}
