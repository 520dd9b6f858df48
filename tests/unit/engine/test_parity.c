/* One request gives the same logits, bit for bit: alone or among 1, 4, 16 strangers; for prompt chunks of 1, 7, 64, 512; with
 * one or two threads; under every CPU mask; when it was preempted in between; on every architecture (a golden sum).
 * Arguments: model files. HEARTH_PARITY_GOLDEN=print prints the sums; HEARTH_PARITY_QUICK=1 compares
 * with the golden sums alone (for emulators). */
#include "base/cpu.h"
#include "fixture.h"

enum { N_PROMPT = 140, N_OUT = 12, MAX_STRANGERS = 16 };

/* The sum of the logits' bits for each tiny model; x86-64 and aarch64 must both arrive here. A change of numerics (kernels,
 * activation widths, op order) changes these on purpose: print them anew and say so in the commit. */
static const struct {
    const char *file;
    uint64_t sum;
} golden[] = {
#include "parity_golden.inc"
    {NULL, 0},
};

static const char *path;
static struct record *truth;
static size_t n_vocab_all;

static uint64_t sum_of(const struct record *r)
{
    uint64_t h = 1469598103934665603u;
    const unsigned char *p = (const unsigned char *)r->logits;
    size_t n = (size_t)r->n_pos * (size_t)r->n_vocab * sizeof(float);
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static struct request *start(const struct rig *rig, struct request_args a, uint64_t number, int n)
{
    static int32_t token[4096];
    prompt_fill(token, n, rig->n_vocab, number);
    a.token = token;
    a.n_token = n;
    struct request *r = NULL;
    struct err e = {0};
    if (engine_submit(rig->engine, &a, &r, &e) < 0)
        fprintf(stderr, "submit: %s\n", e.msg);
    return r;
}

struct setup {
    int threads, chunk, strangers, max_batch;
    unsigned mask;
    bool every_position;
};

/* Runs the request under test in the given company. */
static struct record *run(const struct setup *s)
{
    struct rig rig;
    struct engine_opts o = {
        .n_threads = s->threads, .prefill_chunk = s->chunk, .max_batch = s->max_batch, .cpu_mask = s->mask};
    if (rig_open(&rig, path, o, (size_t)1 << 30) < 0)
        return NULL;
    n_vocab_all = (size_t)rig.n_vocab;
    struct record *rec = record_new(&rig), *others = record_new(&rig);
    struct request *stranger[MAX_STRANGERS];
    struct request_args a = args_of(&rig, NULL, 0, N_OUT);
    a.sample.temperature = 0.8f;
    for (int i = 0; i < s->strangers; i++) {
        a.sample.seed = (uint64_t)i;
        a.max_tokens = 6 + i;
        stranger[i] = start(&rig, a, 1000 + (uint64_t)i, 5 + i * 17);
    }
    a.sample.seed = 42;
    a.sample.top_k = 40;
    a.sample.repetition_penalty = 1.1f;
    a.max_tokens = N_OUT;
    a.on_logits = record_logits;
    a.logits_arg = rec;
    a.all_logits = s->every_position;
    struct request *r = start(&rig, a, 1, N_PROMPT);
    drain_request(r, rec);
    request_free(r);
    for (int i = 0; i < s->strangers; i++) {
        drain_request(stranger[i], others);
        CHECK_INT(others->end.type, EVENT_DONE);
        request_free(stranger[i]);
    }
    CHECK_INT(rec->end.type, EVENT_DONE);
    CHECK_INT(rec->end.stats.n_output, N_OUT);
    record_free(others);
    rig_close(&rig);
    return rec;
}

static void same(const struct setup *s)
{
    struct record *r = run(s);
    CHECK(r != NULL);
    if (!r)
        return;
    int from = s->every_position ? 0 : N_PROMPT - 1, differ = 0;
    for (int pos = from; pos < truth->n_pos; pos++)
        differ += memcmp(r->logits + (size_t)pos * n_vocab_all, truth->logits + (size_t)pos * n_vocab_all,
                         n_vocab_all * sizeof(float)) != 0;
    if (differ || memcmp(r->token, truth->token, sizeof r->token) != 0) {
        CHECK_INT(differ, 0);
        CHECK(memcmp(r->token, truth->token, sizeof r->token) == 0);
        fprintf(stderr, "  with threads %d chunk %d strangers %d mask %s every %d\n", s->threads, s->chunk,
                s->strangers, cpu_mask_name(s->mask), s->every_position);
    }
    record_free(r);
}

static void reference_and_golden(void)
{
    struct setup s = {.threads = 1, .chunk = 64, .mask = 0, .every_position = true};
    truth = run(&s);
    CHECK(truth != NULL);
    if (!truth)
        return;
    CHECK_INT(truth->n_tok, N_OUT);
    CHECK_INT(truth->n_pos, N_PROMPT + N_OUT - 1);
    float least = 0, most = 0;
    for (size_t i = 0; i < (size_t)truth->n_pos * n_vocab_all; i++) {
        least = truth->logits[i] < least ? truth->logits[i] : least;
        most = truth->logits[i] > most ? truth->logits[i] : most;
    }
    CHECK(most > least); /* a model of zeros would pass every comparison */
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path, *mode = getenv("HEARTH_PARITY_GOLDEN");
    uint64_t sum = sum_of(truth);
    if (mode && strcmp(mode, "print") == 0)
        printf("    {\"%s\", 0x%016llxu},\n", name, (unsigned long long)sum);
    for (int i = 0; golden[i].file; i++)
        if (strcmp(golden[i].file, name) == 0 && golden[i].sum != sum) {
            fprintf(stderr, "  %s: 0x%016llx, golden 0x%016llx\n", name, (unsigned long long)sum,
                    (unsigned long long)golden[i].sum);
            CHECK(golden[i].sum == sum);
        }
}

static void chunks(void)
{
    static const int chunk[] = {1, 7, 64, 512};
    for (int i = 0; i < 4; i++)
        same(&(struct setup){.threads = 1, .chunk = chunk[i], .mask = ~0u, .every_position = chunk[i] == 7});
}

static void threads(void)
{
    same(&(struct setup){.threads = 2, .chunk = 64, .mask = ~0u, .every_position = true});
}

static void masks(void)
{
    static const char *const level[] = {"avx2", "avxvnni", "avx512", "amx",
                                        "neon", "i8mm",    "all"}; /* the truth is ref's */
    unsigned have = cpu_features();
    for (int i = 0; i < (int)(sizeof level / sizeof *level); i++) {
        unsigned mask = (unsigned)cpu_mask_parse(level[i]);
        if (strcmp(level[i], "all") != 0 && (mask & have) != mask)
            continue;
        same(&(struct setup){.threads = 1, .chunk = 64, .mask = mask, .every_position = true});
    }
}

static void strangers(void)
{
    static const struct {
        int n, chunk;
    } with[] = {{1, 512}, {4, 7}, {16, 64}};
    for (int i = 0; i < 3; i++)
        same(&(struct setup){.threads = 1 + i % 2, .chunk = with[i].chunk, .mask = ~0u, .strangers = with[i].n});
    same(&(struct setup){.threads = 1, .chunk = 64, .mask = ~0u, .strangers = 4, .max_batch = 3});
}

int main(int argc, char **argv)
{
    const char *q = getenv("HEARTH_PARITY_QUICK");
    bool quick = q && *q;
    for (int i = 1; i < argc; i++) {
        path = argv[i];
        printf("%s\n", path);
        RUN(reference_and_golden);
        if (truth && !quick) {
            RUN(chunks);
            RUN(threads);
            RUN(masks);
            RUN(strangers);
        }
        record_free(truth);
        truth = NULL;
    }
    return check_done();
}
