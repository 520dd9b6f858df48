/* golden: holds Hearth's logits against the reference's (make_golden.py says how they were made).
 *
 *     golden MODEL.gguf FILE.golden [--max-kl X] [--min-top1 Y] [--kv TYPE] [--cpu-mask M]
 *
 * Real models: mean KL(reference || ours) over the reference's top 256 and the rest as one, and the share of positions with
 * the same most likely token. Tiny models: the largest difference of a logit, as a share of the logits' range. */
#include "base/cpu.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/reader.h"
#include "engine/engine.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *model, *golden;
    double max_kl, min_top1, max_diff;
    unsigned mask, kv;
};

/* Logits of one prompt, every position. */
struct capture {
    float *logits;
    size_t n_vocab, n_pos, got;
};

static void capture_logits(void *arg, int pos, const float *logits, size_t n_vocab)
{
    struct capture *c = arg;
    if ((size_t)pos < c->n_pos && n_vocab == c->n_vocab) {
        memcpy(c->logits + (size_t)pos * n_vocab, logits, n_vocab * sizeof *logits);
        c->got++;
    }
}

static int die(const char *what, const struct err *e)
{
    fprintf(stderr, "golden: %s: %s\n", what, e->msg);
    exit(1);
}

static void run_prompt(struct engine *g, struct engine_model *m, const int32_t *ids, struct capture *c)
{
    struct err e = {0};
    struct request *r;
    struct request_args a = {.model = m,
                             .token = ids,
                             .n_token = (int)c->n_pos,
                             .max_tokens = 1,
                             .all_logits = true,
                             .on_logits = capture_logits,
                             .logits_arg = c};
    a.sample = (struct sample_params){.top_p = 1.0f, .repetition_penalty = 1.0f, .logprobs = -1, .ignore_eos = true};
    c->got = 0;
    if (engine_submit(g, &a, &r, &e))
        die("submit", &e);
    for (struct event ev; request_next(r, &ev, -1) == 1;) {
        if (ev.type == EVENT_ERROR)
            die("request", &ev.err);
        if (ev.type == EVENT_DONE)
            break;
    }
    request_free(r);
    if (c->got != c->n_pos) {
        fprintf(stderr, "golden: %zu of %zu positions came\n", c->got, c->n_pos);
        exit(1);
    }
}

struct score {
    double kl_sum;
    double *kl;
    size_t n, same;
};

/* KL of one position; `top` entries of (id, log p), the rest as one. */
static double position_kl(struct reader *r, uint32_t top, const float *logits, size_t n_vocab, bool *same)
{
    const uint8_t *ids = reader_bytes(r, (size_t)top * 3);
    const uint8_t *steps = reader_bytes(r, (size_t)top * 2);
    double rest = (double)reader_f32(r), max = -INFINITY, z = 0.0;
    if (!ids || !steps) {
        fprintf(stderr, "golden: the file is cut short\n");
        exit(1);
    }
    size_t best = 0;
    for (size_t i = 0; i < n_vocab; i++)
        if ((double)logits[i] > max) {
            max = (double)logits[i];
            best = i;
        }
    double *p = malloc(n_vocab * sizeof *p);
    if (!p)
        exit(1);
    for (size_t i = 0; i < n_vocab; i++)
        z += p[i] = exp((double)logits[i] - max);
    double kl = 0.0, level = 0.0, other = 0.0;
    for (uint32_t i = 0; i < top; i++) {
        size_t id = (size_t)ids[3 * i] | (size_t)ids[3 * i + 1] << 8 | (size_t)ids[3 * i + 2] << 16;
        level -= (double)(steps[2 * i] | steps[2 * i + 1] << 8) / 2048.0;
        if (i == 0)
            *same = id == best;
        kl += exp(level) * (level - log(p[id] / z));
        p[id] = 0.0;
    }
    for (size_t i = 0; i < n_vocab; i++)
        other += p[i];
    free(p);
    return kl + exp(rest) * (rest - log(other / z));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int check_real(const struct options *o, struct reader *r, struct engine *g, struct engine_model *m)
{
    uint32_t prompts = reader_u32(r), positions = reader_u32(r), top = reader_u32(r), vocab = reader_u32(r);
    if ((size_t)vocab != (size_t)engine_model_info(m)->n_vocab) {
        fprintf(stderr, "golden: vocabulary %u, the model has %d\n", vocab, engine_model_info(m)->n_vocab);
        return 1;
    }
    struct capture c = {malloc((size_t)positions * vocab * sizeof(float)), vocab, positions, 0};
    struct score s = {0.0, malloc((size_t)prompts * positions * sizeof(double)), 0, 0};
    int32_t *ids = malloc(positions * sizeof *ids);
    if (!c.logits || !s.kl || !ids)
        return 1;
    for (uint32_t i = 0; i < prompts; i++) {
        for (uint32_t p = 0; p < positions; p++)
            ids[p] = reader_i32(r);
        run_prompt(g, m, ids, &c);
        for (uint32_t p = 0; p < positions; p++) {
            bool same = false;
            double kl = position_kl(r, top, c.logits + (size_t)p * vocab, vocab, &same);
            s.kl_sum += s.kl[s.n++] = kl;
            s.same += same;
        }
    }
    qsort(s.kl, s.n, sizeof *s.kl, by_value);
    double mean = s.kl_sum / (double)s.n, top1 = (double)s.same / (double)s.n;
    printf(
        "%s: %zu positions, mean KL %.3e (limit %.1e), median %.2e, 99 %% %.2e, same top-1 %.2f %% (limit %.1f %%)\n",
        engine_model_info(m)->name, s.n, mean, o->max_kl, s.kl[s.n / 2], s.kl[s.n * 99 / 100], 100.0 * top1,
        100.0 * o->min_top1);
    free(c.logits);
    free(s.kl);
    free(ids);
    return mean <= o->max_kl && top1 >= o->min_top1 ? 0 : 1;
}

static int check_tiny(const struct options *o, struct reader *r, struct engine *g, struct engine_model *m)
{
    uint32_t positions = reader_u32(r), vocab = reader_u32(r);
    struct capture c = {malloc((size_t)positions * vocab * sizeof(float)), vocab, positions, 0};
    int32_t *ids = malloc(positions * sizeof *ids);
    if (!c.logits || !ids || (size_t)vocab != (size_t)engine_model_info(m)->n_vocab)
        return 1;
    for (uint32_t p = 0; p < positions; p++)
        ids[p] = reader_i32(r);
    run_prompt(g, m, ids, &c);
    double lo = INFINITY, hi = -INFINITY, diff = 0.0;
    for (size_t i = 0; i < (size_t)positions * vocab; i++) {
        double want = (double)reader_f32(r), d = fabs(want - (double)c.logits[i]);
        lo = want < lo ? want : lo;
        hi = want > hi ? want : hi;
        diff = d > diff || isnan(d) ? d : diff;
    }
    printf("tiny %s: %u positions x %u logits, largest difference %.2e of the range %.3g (limit %.0e)\n",
           engine_model_info(m)->family, positions, vocab, diff / (hi - lo), hi - lo, o->max_diff);
    free(c.logits);
    free(ids);
    return reader_ok(r) && diff <= o->max_diff * (hi - lo) ? 0 : 1;
}

static int parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.max_kl = 1.0, .max_diff = 1e-4, .mask = ~0u};
    int n = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            *(n++ ? &o->golden : &o->model) = argv[i];
        } else if (i + 1 < argc) {
            const char *v = argv[++i];
            if (!strcmp(argv[i - 1], "--max-kl"))
                o->max_kl = atof(v);
            else if (!strcmp(argv[i - 1], "--min-top1"))
                o->min_top1 = atof(v);
            else if (!strcmp(argv[i - 1], "--kv") && model_kv_flag(v, &o->kv, NULL))
                return 2;
            else if (!strcmp(argv[i - 1], "--cpu-mask"))
                o->mask = (unsigned)cpu_mask_parse(v);
        }
    }
    return n == 2 ? 0 : 2;
}

int main(int argc, char **argv)
{
    struct options o;
    if (parse(&o, argc, argv)) {
        fprintf(stderr,
                "usage: golden MODEL.gguf FILE.golden [--max-kl X] [--min-top1 Y] [--kv TYPE] [--cpu-mask M]\n");
        return 2;
    }
    struct err e = {0};
    char *bytes;
    size_t len;
    struct ledger *l = NULL;
    struct engine *g = NULL;
    struct engine_model *m = NULL;
    if (fs_read_all(o.golden, 64u << 20, &bytes, &len, &e) || ledger_new(&l, 0, &e) ||
        engine_new(&g, &(struct engine_opts){.ledger = l, .cpu_mask = o.mask}, &e) ||
        engine_model_load(g, &(struct engine_load){.path = o.model, .name = "golden", .kv = o.kv}, &m, &e))
        die(o.model, &e);
    struct reader r;
    reader_init(&r, bytes, len);
    const char *magic = reader_bytes(&r, 8);
    int rc = 2;
    if (magic && memcmp(magic, "HGLD1\0\0\0", 8) == 0)
        rc = check_real(&o, &r, g, m);
    else if (magic && memcmp(magic, "HGLT1\0\0\0", 8) == 0)
        rc = check_tiny(&o, &r, g, m);
    else
        fprintf(stderr, "golden: %s is not a golden file\n", o.golden);
    engine_model_unref(m);
    engine_free(g);
    ledger_free(l);
    mem_free(bytes);
    return rc;
}
