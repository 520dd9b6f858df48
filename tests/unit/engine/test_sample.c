/* Sampling against a plain sampler that sorts everything, on random and on nasty logits; statistics of the draw. */
#include "engine/sample.h"
#include "base/cpu.h"
#include "base/fmath.h"
#include "base/rng.h"
#include "kernel/kernel.h"
#include "unit/check.h"
#include <math.h>

enum { N = 3000 };
static float logits[N];
static double scratch_mem[N * 5];
static struct sample_scratch scratch;
static uint64_t counter;

static double uniform(void)
{
    return rng_uniform(99, 1, counter++);
}

static struct sample_params plain(void)
{
    return (struct sample_params){.top_p = 1, .repetition_penalty = 1, .logprobs = -1};
}

static int32_t sample(const float *x, size_t n, const struct sample_params *p, int position)
{
    static const int32_t none[1];
    struct sample_in in = {
        .logits = x, .n_vocab = n, .token = none, .n_prompt = position, .n_token = position, .params = p};
    int32_t id = -1;
    struct err e;
    CHECK_INT(sample_token(&in, &scratch, &id, &e), 0);
    return id;
}

struct item {
    float x;
    int32_t id;
};

static int falling(const void *pa, const void *pb)
{
    const struct item *a = pa, *b = pb;
    if (a->x != b->x)
        return a->x > b->x ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* The definition, by full sort. `total` is summed in another order than the sampler's, so a draw that falls within rounding
 * of a border could differ; with 53-bit u and these sizes that does not happen for the fixed seeds here. */
static int32_t by_sort(const float *x, size_t n, const struct sample_params *p, int position)
{
    static struct item it[N];
    for (size_t i = 0; i < n; i++)
        it[i] = (struct item){x[i], (int32_t)i};
    qsort(it, n, sizeof *it, falling);
    size_t m = p->top_k > 0 && (size_t)p->top_k < n ? (size_t)p->top_k : n;
    float max = it[0].x;
    double total = 0;
    size_t kept = 0;
    for (size_t i = 0; i < m; i++) {
        float w = fm_expf((it[i].x - max) / p->temperature);
        if (w <= 0 || w < p->min_p)
            break;
        total += (double)w;
        kept++;
    }
    double sum = 0;
    if (p->top_p > 0 && p->top_p < 1) {
        size_t i = 0;
        for (; i < kept && sum < (double)p->top_p * total; i++)
            sum += (double)fm_expf((it[i].x - max) / p->temperature);
        kept = i;
        total = sum;
    }
    double target = rng_uniform(p->seed, 0, (uint64_t)position) * total;
    sum = 0;
    for (size_t i = 0; i < kept; i++) {
        sum += (double)fm_expf((it[i].x - max) / p->temperature);
        if (sum > target)
            return it[i].id;
    }
    return it[kept - 1].id;
}

static void fill(size_t n, int kind)
{
    for (size_t i = 0; i < n; i++) {
        double u = uniform();
        switch (kind) {
        case 0:
            logits[i] = (float)(u * 20 - 10);
            break;
        case 1:
            logits[i] = (float)(int)(u * 8);
            break; /* ties everywhere */
        case 2:
            logits[i] = (float)(-u * 0.01);
            break; /* nearly flat */
        case 3:
            logits[i] = u < 0.5 ? -INFINITY : (float)(u * 50 - 60);
            break;
        default:
            logits[i] = (float)(fm_log(u + 1e-9) * 8);
            break; /* a few far ahead */
        }
    }
}

static void equals_full_sort(void)
{
    for (int round = 0; round < 3000; round++) {
        size_t n = 1 + (size_t)(uniform() * (round % 10 ? 300 : N - 1));
        fill(n, round % 5);
        logits[0] = logits[0] == -INFINITY ? 0 : logits[0];
        struct sample_params p = plain();
        p.temperature = (float)(0.05 + uniform() * 2);
        p.top_k = uniform() < 0.5 ? 0 : 1 + (int)(uniform() * 60);
        p.top_p = uniform() < 0.3 ? 1 : (float)uniform();
        p.min_p = uniform() < 0.5 ? 0 : (float)(uniform() * 0.3);
        p.seed = (uint64_t)round;
        int got = sample(logits, n, &p, round % 100), want = by_sort(logits, n, &p, round % 100);
        if (got != want) {
            CHECK_INT(got, want);
            printf("     round %d n %zu k %d p %g min %g t %g\n", round, n, p.top_k, (double)p.top_p, (double)p.min_p,
                   (double)p.temperature);
            return;
        }
    }
}

static void greedy_takes_lowest_id(void)
{
    struct sample_params p = plain();
    for (int kind = 0; kind < 5; kind++) {
        fill(500, kind);
        logits[3] = 1;
        int best = 0;
        for (int i = 1; i < 500; i++)
            if (logits[i] > logits[best])
                best = i;
        CHECK_INT(sample(logits, 500, &p, 0), best);
    }
}

static void frequencies(void)
{
    float x[4] = {0, fm_expf(0) * 0.6931472f, 1.0986123f, -INFINITY}; /* weights 1 : 2 : 3 : 0 */
    struct sample_params p = plain();
    p.temperature = 1;
    int hits[4] = {0};
    for (int i = 0; i < 60000; i++) {
        p.seed = (uint64_t)i;
        hits[sample(x, 4, &p, 5)]++;
    }
    CHECK(abs(hits[0] - 10000) < 400 && abs(hits[1] - 20000) < 500 && abs(hits[2] - 30000) < 500);
    CHECK_INT(hits[3], 0);
}

static void position_and_seed_decide(void)
{
    fill(100, 2);
    struct sample_params p = plain();
    p.temperature = 1;
    p.seed = 5;
    int a = sample(logits, 100, &p, 10), same = 0;
    CHECK_INT(sample(logits, 100, &p, 10), a);
    for (int i = 11; i < 61; i++)
        same += sample(logits, 100, &p, i) == a;
    CHECK(same < 10);
}

static void penalties_and_bias(void)
{
    float x[5] = {2, 4, -1, 3, 0};
    const int32_t token[5] = {1, 2, 3, 3, 2}; /* prompt 1 2, output 3 3 2 */
    struct sample_params p = plain();
    struct sample_in in = {.logits = x, .n_vocab = 5, .token = token, .n_prompt = 2, .n_token = 5, .params = &p};
    int32_t id;
    p.repetition_penalty = 2.5f; /* 1: 4 -> 1.6; 2: -1 -> -2.5; 3: 3 -> 1.2 */
    CHECK_INT(sample_token(&in, &scratch, &id, NULL), 0);
    CHECK_INT(id, 0);
    CHECK(scratch.work[1] == 4.0f / 2.5f && scratch.work[2] == -2.5f && scratch.work[3] == 3.0f / 2.5f &&
          scratch.work[4] == 0.0f);
    p = plain();
    p.presence_penalty = 0.5f;
    p.frequency_penalty = 0.25f; /* output only: 3 twice, 2 once; 1 is of the prompt and stays */
    CHECK_INT(sample_token(&in, &scratch, &id, NULL), 0);
    CHECK_INT(id, 1);
    CHECK(scratch.work[1] == 4.0f && scratch.work[3] == 2.0f && scratch.work[2] == -1.75f);
    struct logit_bias bias[2] = {{1, -100}, {4, 10}};
    p = plain();
    p.bias = bias;
    p.n_bias = 2;
    CHECK_INT(sample_token(&in, &scratch, &id, NULL), 0);
    CHECK_INT(id, 4);
    CHECK(scratch.work[1] == -INFINITY && x[1] == 4.0f);
    for (int i = 0; i < 5; i++)
        CHECK_INT(scratch.count[i], 0);
}

static void only_even(void *self, uint32_t *bits, size_t n)
{
    (void)self;
    for (size_t i = 0; i < n; i += 2)
        bits[i / 32] |= 1u << (i % 32);
}

static void accepted(void *self, int32_t id)
{
    *(int32_t *)self = id;
}

static void constraint_masks(void)
{
    float x[5] = {0, 9, 1, 9, 2};
    int32_t last = -1, id;
    struct constraint c = {only_even, accepted, &last};
    struct sample_params p = plain();
    struct sample_in in = {.logits = x, .n_vocab = 5, .params = &p, .constraint = &c};
    CHECK_INT(sample_token(&in, &scratch, &id, NULL), 0);
    CHECK_INT(id, 4);
    CHECK_INT(last, 4);
}

static void bad_logits_are_errors(void)
{
    struct sample_params p = plain();
    float bad[][3] = {{0, NAN, 1}, {0, -NAN, 1}, {INFINITY, 0, 1}, {-INFINITY, -INFINITY, -INFINITY}};
    for (size_t i = 0; i < 4; i++) {
        struct sample_in in = {.logits = bad[i], .n_vocab = 3, .params = &p};
        int32_t id = 77;
        struct err e;
        CHECK_INT(sample_token(&in, &scratch, &id, &e), ERR_RANGE);
        CHECK_INT(id, 77);
    }
}

/* Whatever place of a block it has; and of two zeros the positive one comes first, as its key does. */
static void every_place_is_looked_at(void)
{
    enum { SIZE = 203 };
    struct sample_params p = plain(), k = plain();
    struct sample_in in = {.logits = logits, .n_vocab = SIZE, .params = &p};
    int32_t id;
    k.top_k = 2;
    k.temperature = 1e-3f;
    for (int i = 0; i < SIZE; i++) {
        fill(SIZE, 0);
        logits[i] = 20;
        CHECK_INT(sample(logits, SIZE, &p, 0), i);
        CHECK_INT(sample(logits, SIZE, &k, 0), i);
        logits[i] = i % 2 ? NAN : -NAN;
        CHECK_INT(sample_token(&in, &scratch, &id, NULL), ERR_RANGE);
        logits[i] = INFINITY;
        CHECK_INT(sample_token(&in, &scratch, &id, NULL), ERR_RANGE);
        for (int j = 0; j < SIZE; j++)
            logits[j] = j % 3 ? -0.0f : -1;
        logits[i] = 0.0f;
        CHECK_INT(sample(logits, SIZE, &p, 0), i);
    }
}

static void logprobs_are_log_softmax(void)
{
    fill(1000, 0);
    logits[10] = logits[700] = 11; /* a tie at the top: lowest id first */
    float lp[6];
    int32_t top[5];
    struct sample_want w = {700, 5, lp, top};
    sample_logprobs(logits, 1000, &w, &scratch);
    double sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += exp((double)logits[i]);
    CHECK(fabs((double)lp[0] - (11 - log(sum))) < 1e-5);
    CHECK_INT(top[0], 10);
    CHECK_INT(top[1], 700);
    for (int i = 1; i < 5; i++)
        CHECK(lp[i] >= lp[i + 1] && fabs((double)lp[i] - ((double)logits[top[i - 1]] - log(sum))) < 1e-5);
    float two[2] = {1, 1};
    w.id = 1;
    sample_logprobs(two, 2, &w, &scratch);
    CHECK(top[2] == -1 && fabs((double)lp[1] + log(2)) < 1e-6);
}

int main(void)
{
    if (sample_scratch_bytes(N) > sizeof scratch_mem)
        return 1;
    struct kernels ref, best;
    kernels_init(&ref, 0);
    kernels_init(&best, cpu_features());
    sample_scratch_set(&scratch, &ref, scratch_mem, N);
    RUN(equals_full_sort);
    sample_scratch_set(&scratch, &best, scratch_mem, N);
    RUN(equals_full_sort);
    RUN(greedy_takes_lowest_id);
    RUN(frequencies);
    RUN(position_and_seed_decide);
    RUN(penalties_and_bias);
    RUN(constraint_masks);
    RUN(bad_logits_are_errors);
    RUN(every_place_is_looked_at);
    RUN(logprobs_are_log_softmax);
    return check_done();
}
