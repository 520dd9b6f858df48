/* bench_record: what an earlier sweep measured (--save, or kept output of --json), read again for --against.
 *
 * When does a difference count? Both sides have several runs. Their means differ by chance by about the standard error
 * sqrt(sd1^2/n1 + sd2^2/n2); Student's t for 99 % says how many of it chance may reach with so few runs. Runs of one minute
 * know nothing of how the machine changes from day to day, so the drift of the roof that bounds the row is added. What lies
 * beyond both is told as faster or slower. */
#include "base/cpu.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/bench.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RECORD_LIMIT = 16 << 20 };
struct bench_record {
    cJSON *rows; /* an array of objects */
};

static int add_line(struct bench_record *r, const char *path, int line, const char *text, size_t n, struct err *e)
{
    cJSON *row = cJSON_ParseWithLength(text, n);
    const cJSON *rate = cJSON_GetObjectItemCaseSensitive(row, "tokens_per_s");
    if (!cJSON_IsNumber(rate) || !(rate->valuedouble > 0) || !cJSON_AddItemToArray(r->rows, row)) {
        cJSON_Delete(row);
        return err_set(e, ERR_FORMAT, "%s, line %d is no row of a sweep; make a record with: bench sweep --save FILE",
                       path, line);
    }
    return 0;
}

int bench_record_open(struct bench_record **out, const char *path, struct err *e)
{
    char *text = NULL;
    size_t len = 0;
    struct bench_record *r = NULL;
    int err = fs_read_all(path, RECORD_LIMIT, &text, &len, e);
    if (err)
        return err;
    r = mem_calloc(1, sizeof *r);
    if (!r || !(r->rows = cJSON_CreateArray())) {
        err = err_set(e, ERR_NOMEM, "out of memory");
        goto fail;
    }
    int line = 1;
    for (char *p = text, *end; *p && !err; p = end, line++) {
        size_t n = strcspn(p, "\n");
        end = p + n + (p[n] == '\n');
        if (n)
            err = add_line(r, path, line, p, n, e);
    }
    if (!err && cJSON_GetArraySize(r->rows) == 0)
        err = err_set(e, ERR_FORMAT, "%s is empty; make a record with: bench sweep --save FILE", path);
fail:
    mem_free(text);
    if (err)
        bench_record_free(r);
    else
        *out = r;
    return err;
}

void bench_record_free(struct bench_record *r)
{
    if (r)
        cJSON_Delete(r->rows);
    mem_free(r);
}

static const char *text_of(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(v) ? v->valuestring : "";
}

static double number_of(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static bool same_test(const cJSON *o, const struct bench_row *row)
{
    char test[24];
    snprintf(test, sizeof test, "%s%d", row->test.decode ? "tg" : "pp", row->test.n);
    return strcmp(text_of(o, "model"), row->model) == 0 && strcmp(text_of(o, "test"), test) == 0 &&
           number_of(o, "depth") == row->test.depth && number_of(o, "batch") == row->test.batch &&
           strcmp(text_of(o, "kv"), row->kv) == 0 && number_of(o, "threads") == backend_threads(row->m->backend) &&
           (bool)cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "precise")) == row->precise;
}

/* Student's t, two-sided 99 %. */
static double student(int freedom)
{
    static const double t[] = {63.66, 9.92, 5.84, 4.60, 4.03, 3.71, 3.50, 3.36, 3.25, 3.17, 3.11, 3.05};
    int n = sizeof t / sizeof t[0];
    return freedom < 1 ? t[0] : freedom <= n ? t[freedom - 1] : 2.58 + 6.1 / freedom;
}

static double noise_of(const cJSON *o, const struct bench_row *row)
{
    const cJSON *rates = cJSON_GetObjectItemCaseSensitive(o, "rates");
    int n1 = cJSON_GetArraySize(rates), n2 = row->n_rates;
    double then = number_of(o, "tokens_per_s"), sd1 = number_of(o, "sd") / then, sd2 = row->sd / row->rate,
           roof = number_of(o, "roof"), drift = 0;
    if (n1 < 1)
        n1 = 1;
    double chance = student(n1 + n2 - 2) * sqrt(sd1 * sd1 / n1 + sd2 * sd2 / n2);
    if (roof > 0 && row->roof > 0 && strcmp(text_of(o, "bound"), row->bound) == 0)
        drift = fabs(log(row->roof / roof));
    return chance + drift;
}

bool bench_record_find(const struct bench_record *r, const struct bench_row *row, struct bench_against *out)
{
    const cJSON *o, *found = NULL;
    cJSON_ArrayForEach(o, r->rows)
    {
        if (same_test(o, row) && (!found || strcmp(text_of(o, "level"), row->level) == 0))
            found = o; /* of several levels, the same one */
    }
    if (!found)
        return false;
    *out = (struct bench_against){.rate = number_of(found, "tokens_per_s")};
    out->ratio = row->rate / out->rate;
    out->noise = noise_of(found, row);
    out->other_cpu = strcmp(text_of(found, "cpu"), cpu_model()) != 0;
    return true;
}

const char *bench_record_verdict(const struct bench_against *a)
{
    double change = log(a->ratio);
    return fabs(change) <= a->noise ? "same" : change > 0 ? "faster" : "slower";
}
