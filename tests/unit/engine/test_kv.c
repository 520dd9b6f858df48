/* What is found in the cache holds the very bits that would have been computed: every run here is compared by memcmp, tokens and
 * logits, with the same request in an engine without a prefix cache. Arguments: tiny models: llama, gemma3 with a
 * window of 16, gemma3 with a window of 512, llama with other weights. */
#include "kv_runs.h"

static void hits(void)
{
    static const int len[] = {1, 2, 63, 64, 65, 127, 128, 129, 300};
    for (int which = LLAMA; which <= WINDOW_16; which++) {
        struct rig rig;
        if (!open_rig(&rig, which, true, (size_t)1 << 30) || !open_rig(&cold, which, false, (size_t)1 << 30))
            return;
        for (int i = 0; i < 9; i++) {
            int n = len[i];
            int32_t *p = prompt_of(&rig, n, 10 + (uint64_t)i, n, 0);
            CHECK_INT(cached_of(&rig, p, n), 0);
            CHECK_INT(cached_of(&rig, p, n), n - 1); /* the last one is computed: its logits are wanted */
            free(p);
        }
        int32_t *p = prompt_of(&rig, 260, 18, 260, 0),
                *q = prompt_of(&rig, 260, 18, 130, 99); /* 18: 300 tokens above */
        CHECK_INT(cached_of(&rig, p, 260), 259);
        if (which == LLAMA)
            CHECK_INT(cached_of(&rig, q, 260), 130); /* goes its own way in the middle of a block */
        else
            CHECK(cached_of(&rig, q, 260) <= 130);
        CHECK_INT(cached_of(&rig, q, 260), 259);
        struct engine_stats st;
        engine_stats(rig.engine, &st);
        CHECK(st.prefix_hits_total >= 10 && st.prefix_blocks > 0 && st.prefix_bytes > 0 &&
              st.prefix_evicted_total == 0);
        free(p);
        free(q);
        rig_close(&rig);
        rig_close(&cold);
    }
}

/* A chat: every turn's prompt is the last prompt, its answer and something new. */
static void turns(void)
{
    for (int which = LLAMA; which <= WINDOW_16; which++) {
        struct rig rig;
        if (!open_rig(&rig, which, true, (size_t)1 << 30) || !open_rig(&cold, which, false, (size_t)1 << 30))
            return;
        int32_t chat[700];
        prompt_fill(chat, 700, rig.n_vocab, 5);
        for (int turn = 0, n = 90; turn < 5; turn++) {
            struct record *got = run(&rig, chat, n), *want = run(&cold, chat, n);
            CHECK(same(got, want));
            if (turn) /* all of the last turn but its last token, which was never run */
                CHECK_INT(got->end.stats.n_cached, n - 110 + OUT - 1);
            memcpy(chat + n, got->token, OUT * sizeof *chat);
            n += 110;
            record_free(got);
            record_free(want);
        }
        rig_close(&rig);
        rig_close(&cold);
    }
}

/* Around a window of 512: a cached prefix goes on correctly whether the window's edge lies before, on or behind a block's. */
static void window_edges(void)
{
    static const int edge[] = {510, 511, 512, 513, 575, 576, 577, 700};
    struct rig rig;
    if (!open_rig(&rig, WINDOW_512, true, (size_t)1 << 30) || !open_rig(&cold, WINDOW_512, false, (size_t)1 << 30))
        return;
    for (int i = 0; i < 8; i++) {
        int n = edge[i];
        int32_t *p = prompt_of(&rig, n + 40, 200 + (uint64_t)i, n, 300);
        CHECK_INT(cached_of(&rig, p, n), 0);
        int got = cached_of(&rig, p, n + 40); /* what follows differs from the answer */
        CHECK(got >= n && got <= n + 1);
        free(p);
    }
    int32_t *p = prompt_of(&rig, 700, 207, 550, 301); /* leaves the last chain 150 tokens before its end */
    CHECK(cached_of(&rig, p, 700) <= 550);
    CHECK(cached_of(&rig, p, 700) == 699);
    free(p);
    rig_close(&rig);
    rig_close(&cold);
}

/* n choices of one prompt at once: it is computed once. */
static void choices(void)
{
    enum { N = 4 };
    static const int len[] = {40, 64, 200};
    for (int which = LLAMA; which <= WINDOW_16; which++)
        for (int i = 0; i < 3; i++) {
            struct rig rig;
            if (!open_rig(&rig, which, true, (size_t)1 << 30) || !open_rig(&cold, which, false, (size_t)1 << 30))
                return;
            int n = len[i], n_cached = 0;
            int32_t *p = prompt_of(&rig, n, 7, n, 0);
            struct record *want = run(&cold, p, n), *got[N];
            struct request *r[N];
            for (int k = 0; k < N; k++)
                r[k] = submit(&rig, p, n, OUT, got[k] = record_new(&rig));
            for (int k = 0; k < N; k++) {
                drain_request(r[k], got[k]);
                request_free(r[k]);
                CHECK(same(got[k], want));
                n_cached += got[k]->end.stats.n_cached;
                record_free(got[k]);
            }
            CHECK_INT(n_cached, (N - 1) * (n - 1));
            record_free(want);
            free(p);
            rig_close(&rig);
            rig_close(&cold);
        }
}

/* Equal tokens do not make equal blocks: another model finds nothing, nor does it disturb. */
static void models_apart(void)
{
    struct rig rig, other;
    if (!open_rig(&rig, LLAMA, true, (size_t)1 << 30) || !open_rig(&cold, OTHER, false, (size_t)1 << 30))
        return;
    other = rig;
    struct err e;
    struct engine_load load = {.path = model_path[OTHER], .name = "other"};
    CHECK_INT(engine_model_load(rig.engine, &load, &other.model, &e), 0);
    int32_t *p = prompt_of(&rig, 200, 1, 200, 0);
    record_free(run(&rig, p, 200));
    CHECK_INT(cached_of(&other, p, 200), 0);
    CHECK_INT(cached_of(&other, p, 200), 199);
    struct record *again = run(&rig, p, 200);
    CHECK_INT(again->end.stats.n_cached, 199);
    record_free(again);
    free(p);
    engine_model_leave(other.model);
    rig_close(&rig);
    rig_close(&cold);
}

/* Memory for about a dozen blocks: the cache gives way to whoever runs, and what it still has is right. */
static void short_memory(void)
{
    for (int which = LLAMA; which <= WINDOW_16; which++) {
        struct rig rig;
        if (!open_rig(&rig, which, true, (size_t)1 << 30) || !open_rig(&cold, which, false, (size_t)1 << 30))
            return;
        int32_t *p = prompt_of(&rig, 700, 1, 700, 0);
        CHECK_INT(cached_of(&rig, p, 200), 0);
        struct engine_stats st;
        engine_stats(rig.engine, &st);
        size_t block = st.prefix_bytes / st.prefix_blocks;
        engine_trim(rig.engine, SIZE_MAX);
        CHECK_INT(ledger_set_ceiling(rig.ledger, ledger_used(rig.ledger) + 14 * block + 2000000, NULL), 0);
        int found = 0;
        for (uint64_t i = 0; i < 12; i++) {
            int n = 100 + (int)(i * 53 % 300);
            int32_t *q = prompt_of(&rig, n, i % 5, n, 0);
            cached_of(&rig, q, n);
            found += cached_of(&rig, q, n) > 0; /* nobody came between */
            free(q);
        }
        engine_stats(rig.engine, &st);
        CHECK_INT(found, 12);
        CHECK(ledger_used(rig.ledger) <= ledger_ceiling(rig.ledger));
        free(p);
        rig_close(&rig);
        rig_close(&cold);
    }
}

/* A request that was cancelled in the middle of its prompt leaves what it had computed, and that is right. */
static void cancelled_leave_no_ruin(void)
{
    struct rig rig;
    if (!open_rig(&rig, LLAMA, true, (size_t)1 << 30) || !open_rig(&cold, LLAMA, false, (size_t)1 << 30))
        return;
    int32_t *p = prompt_of(&rig, 700, 1, 700, 0);
    for (int i = 0; i < 4; i++) {
        struct record *rec = record_new(&rig);
        struct engine_stats st;
        engine_stats(rig.engine, &st);
        uint64_t end = st.steps_total + 2;
        struct request *r = submit(&rig, p, 700, OUT, rec);
        while (st.steps_total < end && engine_model_running(rig.model))
            engine_stats(rig.engine, &st);
        request_cancel(r);
        drain_request(r, rec);
        request_free(r);
        record_free(rec);
    }
    int n_cached = cached_of(&rig, p, 700);
    CHECK(n_cached >= 2 * 96);
    free(p);
    rig_close(&rig);
    rig_close(&cold);
}

int main(int argc, char **argv)
{
    if (argc < 1 + N_PATH)
        return 1;
    for (int i = 0; i < N_PATH; i++)
        model_path[i] = argv[1 + i];
    const char *quick = getenv("HEARTH_PARITY_QUICK"); /* an emulator, or one mask of several */
    RUN(hits);
    if (!quick || !*quick) {
        RUN(turns);
        RUN(window_edges);
        RUN(choices);
        RUN(models_apart);
        RUN(cancelled_leave_no_ruin);
        RUN(short_memory);
    }
    return check_done();
}
