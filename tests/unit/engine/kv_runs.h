/* kv_runs: the same request in an engine with a prefix cache and, alone and uncached, in another; compared by memcmp. */
#ifndef HEARTH_TESTS_ENGINE_KV_RUNS_H
#define HEARTH_TESTS_ENGINE_KV_RUNS_H
#include "fixture.h"

enum { LLAMA, WINDOW_16, WINDOW_512, OTHER, N_PATH, OUT = 6 };
static const char *model_path[N_PATH];
static const struct engine_opts cached = {.n_threads = 1, .cpu_mask = ~0u, .prefill_chunk = 96};
static const char *disk; /* folder of the second tier, or none */
static uint64_t disk_bytes = (uint64_t)1 << 30;
static size_t warm_bytes; /* read back at once */
static struct rig cold;   /* of the model under test, without a cache */

static inline bool open_rig(struct rig *r, int which, bool cache, size_t ceiling)
{
    struct engine_opts o = cached;
    o.no_prefix_cache = !cache;
    o.kv_disk = cache ? disk : NULL;
    o.kv_disk_bytes = disk_bytes;
    o.kv_warm_bytes = warm_bytes;
    bool ok = rig_open(r, model_path[which], o, ceiling) == 0;
    CHECK(ok);
    return ok;
}

/* A prompt: n tokens of the chain `number`, from position `fork` on those of `other`. */
static inline int32_t *prompt_of(const struct rig *rig, int n, uint64_t number, int fork, uint64_t other)
{
    int32_t *t = calloc((size_t)n, sizeof *t), *u = calloc((size_t)n, sizeof *u);
    prompt_fill(t, n, rig->n_vocab, number);
    prompt_fill(u, n, rig->n_vocab, other);
    for (int i = fork; i < n; i++)
        t[i] = u[i];
    free(u);
    return t;
}

static inline struct request *submit(const struct rig *rig, const int32_t *token, int n, int n_out, struct record *rec)
{
    struct request_args a = args_of(rig, token, n, n_out);
    a.sample.temperature = 0.9f;
    a.sample.seed = 3;
    a.on_logits = record_logits;
    a.logits_arg = rec;
    struct request *r = NULL;
    struct err e = {0};
    if (engine_submit(rig->engine, &a, &r, &e) < 0)
        fprintf(stderr, "submit: %s\n", e.msg);
    return r;
}

static inline struct record *run(const struct rig *rig, const int32_t *token, int n)
{
    struct record *rec = record_new(rig);
    struct request *r = submit(rig, token, n, OUT, rec);
    drain_request(r, rec);
    request_free(r);
    return rec;
}

static inline bool same(const struct record *a, const struct record *b)
{
    size_t bytes = (size_t)a->n_pos * (size_t)a->n_vocab * sizeof *a->logits;
    return a->end.type == EVENT_DONE && a->n_tok == OUT && a->n_pos == b->n_pos && a->n_tok == b->n_tok &&
           memcmp(a->token, b->token, sizeof a->token) == 0 && memcmp(a->logits, b->logits, bytes) == 0;
}

/* Runs it in rig and, alone and uncached, in cold; returns how many positions came from the cache. */
static inline int cached_of(const struct rig *rig, const int32_t *token, int n)
{
    struct engine_stats from, to;
    engine_stats(rig->engine, &from);
    struct record *got = run(rig, token, n), *want = run(&cold, token, n);
    engine_stats(rig->engine, &to);
    CHECK(same(got, want));
    if (to.preempted_total == from.preempted_total)
        CHECK_INT(to.tokens_prompt_total - from.tokens_prompt_total, n - got->end.stats.n_cached);
    CHECK_INT(want->end.stats.n_cached, 0);
    CHECK_INT(got->end.stats.n_prompt, n);
    int n_cached = got->end.stats.n_cached;
    record_free(got);
    record_free(want);
    return n_cached;
}

#endif
