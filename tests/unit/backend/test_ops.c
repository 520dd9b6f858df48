/* ops: every op of the graph's table, run by the backend and held against plain double arithmetic; the same step again with
 * other thread counts and cut into other batches must give the same bits.
 *
 * The graph is embed -> op -> select -> head, with an identity matrix as head, so that the logits are the op's output. */
#include "backend/backend.h"
#include "base/cpu.h"
#include "base/mem.h"

#include "unit/check.h"
#include <math.h>
#include <unistd.h>

enum { W = 64, VOCAB = W, DIM = 16, KV_WIDTH = W / 2, TOK = 150, CHUNK = 64 };

/* Weights in a scratch file: embedding, identity, norm weights, projections to keys and values. */
enum { W_EMBED, W_HEAD, W_NORM, W_K, W_V, N_W };
static float *weights[N_W];
static const int weight_rows[N_W] = {VOCAB, VOCAB, 1, KV_WIDTH, KV_WIDTH};
static char path[] = "/tmp/hearth-test-ops-XXXXXX";
static struct ledger *ledger;

static float noise(unsigned *s)
{
    *s = *s * 1664525u + 1013904223u;
    return (float)((int)(*s >> 9) - (1 << 22)) / (float)(1 << 21);
}

static void make_weights(void)
{
    unsigned seed = 7;
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "wb");
    for (int i = 0; i < N_W; i++) {
        size_t n = (size_t)weight_rows[i] * W;
        weights[i] = malloc(n * sizeof(float));
        for (size_t j = 0; j < n; j++)
            weights[i][j] = i == W_HEAD ? (j / W == j % W ? 1.0f : 0.0f) : noise(&seed) * (i >= W_K ? 0.1f : 1.0f);
        fwrite(weights[i], sizeof(float), n, f);
    }
    fclose(f);
}

static void add_weights(struct graph *g)
{
    uint64_t offset = 0;
    for (int i = 0; i < N_W; i++) {
        struct graph_weight w = {.dtype = DT_F32, .rows = (uint64_t)weight_rows[i], .k = W, .offset = offset};
        snprintf(w.name, sizeof w.name, "w%d", i);
        w.bytes = w.rows * W * sizeof(float);
        w.use = i == W_EMBED ? WEIGHT_EMBED : i == W_NORM ? WEIGHT_VECTOR : WEIGHT_LINEAR;
        offset += w.bytes;
        graph_add_weight(g, &w);
    }
}

/* One case: the node under test, and what it should give for output element (token, column). */
struct op_case {
    const char *name;
    struct graph_node node; /* in[] and w[] filled by the builder */
    double (*want)(const struct op_case *c, int t, int col);
    enum dtype kv; /* OP_ATTN */
};

static double x_at(int t, int col)
{
    return (double)weights[W_EMBED][((t * 5 + 3) % VOCAB) * W + col];
}

static double want_embed(const struct op_case *c, int t, int col)
{
    (void)c;
    return x_at(t, col);
}

static double want_rmsnorm(const struct op_case *c, int t, int col)
{
    double sum = 0.0;
    for (int i = 0; i < W; i++)
        sum += x_at(t, i) * x_at(t, i);
    return x_at(t, col) / sqrt(sum / W + (double)c->node.f) * (double)weights[W_NORM][col];
}

static double want_add(const struct op_case *c, int t, int col)
{
    (void)c;
    return 2.0 * x_at(t, col);
}

static double want_scale(const struct op_case *c, int t, int col)
{
    return (double)c->node.f * x_at(t, col);
}

static double want_swiglu(const struct op_case *c, int t, int col)
{
    (void)c;
    return x_at(t, col) / (1.0 + exp(-x_at(t, col))) * x_at(t, col);
}

static double want_geglu(const struct op_case *c, int t, int col)
{
    (void)c;
    double x = x_at(t, col);
    return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))) * x;
}

static double want_rope(const struct op_case *c, int t, int col)
{
    int head = col / DIM * DIM, i = col % DIM, half = DIM / 2;
    int pair = c->node.neox ? i % half : i / 2;
    bool second = c->node.neox ? i >= half : i & 1;
    double angle = t / (double)c->node.rope_scale * pow((double)c->node.rope_base, -2.0 * pair / DIM);
    double a = x_at(t, head + (c->node.neox ? pair : 2 * pair)),
           b = x_at(t, head + (c->node.neox ? pair + half : 2 * pair + 1));
    return second ? a * sin(angle) + b * cos(angle) : a * cos(angle) - b * sin(angle);
}

static double project(int w, int t, int row)
{
    double sum = 0.0;
    for (int i = 0; i < W; i++)
        sum += x_at(t, i) * (double)weights[w][row * W + i];
    return sum;
}

static double want_attn(const struct op_case *c, int t, int col)
{
    int dim = c->node.head_dim, head = col / dim, kv = head / 2, first = 0;
    if (c->node.window && t - c->node.window + 1 > 0)
        first = t - c->node.window + 1;
    double z = 0.0, sum = 0.0, max = -INFINITY, s[TOK];
    for (int j = first; j <= t; j++) {
        s[j] = 0.0;
        for (int d = 0; d < dim; d++)
            s[j] += x_at(t, head * dim + d) * project(W_K, j, kv * dim + d);
        max = s[j] > max ? s[j] : max;
    }
    for (int j = first; j <= t; j++) {
        double p = exp(s[j] - max);
        z += p;
        sum += p * project(W_V, j, kv * dim + col % dim);
    }
    return sum / z;
}

static struct graph *build(const struct op_case *c)
{
    struct graph *g = graph_new();
    g->n_vocab = VOCAB;
    add_weights(g);
    int x = graph_add(g, &(struct graph_node){.op = OP_EMBED, .w = {W_EMBED, -1}}, W, false), y = x;
    struct graph_node n = c->node;
    n.in[0] = n.in[1] = x;
    n.w[0] = n.op == OP_RMSNORM ? W_NORM : -1;
    n.w[1] = -1;
    if (n.op == OP_ATTN) {
        int dim = n.head_dim;
        n.layer = graph_add_kv(g, KV_WIDTH / dim, dim, n.window, c->kv);
        n.in[1] = graph_add(g, &(struct graph_node){.op = OP_LINEAR, .in = {x}, .w = {W_K, -1}}, KV_WIDTH, false);
        n.in[2] = graph_add(g, &(struct graph_node){.op = OP_LINEAR, .in = {x}, .w = {W_V, -1}}, KV_WIDTH, false);
        n.n_head = W / dim;
        n.n_kv_head = KV_WIDTH / dim;
    }
    if (n.op != OP_EMBED)
        y = graph_add(g, &n, W, false);
    int s = graph_add(g, &(struct graph_node){.op = OP_SELECT, .in = {y}, .w = {-1, -1}}, W, true);
    g->logits = graph_add(g, &(struct graph_node){.op = OP_LINEAR, .in = {s}, .w = {W_HEAD, -1}}, VOCAB, true);
    return g;
}

static size_t block_bytes(const struct graph *g) /* of either class: these graphs have one layer */
{
    return g->kv_class[0].block_bytes + g->kv_class[1].block_bytes + 64;
}

static enum batch_go rest(void *arg)
{
    (void)arg;
    return BATCH_PAUSE;
}

static int rests;

/* Rests before each step of the plan, and is forgotten once on its way. Where workers are quicker than the one who asks, it rests less often. */
static void run_resting(struct backend *b, struct plan *p, struct batch *in, float *logits)
{
    struct err e;
    int rc;
    in->poll = rest;
    if (backend_run(b, p, in, logits, &e) == BACKEND_PAUSED)
        backend_drop(p);
    while ((rc = backend_run(b, p, in, logits, &e)) == BACKEND_PAUSED)
        rests++;
    CHECK_INT(rc, 0);
}

/* Runs TOK positions of one sequence in steps of `chunk`. */
static void run(const struct graph *g, unsigned mask, int threads, int chunk, bool resting, float *logits)
{
    struct err e = {0};
    struct backend *b;
    struct ledger_owner *o;
    struct fs_reader r;
    struct weights *w;
    struct plan *p;
    uint8_t *pages[(TOK + 63) / 64];
    if (backend_new(&b, &(struct backend_opts){threads, mask}, &e) || ledger_owner_new(ledger, "test", &o, &e) ||
        fs_reader_open(&r, path, &e) ||
        backend_load(b, &(struct load_args){.graph = g, .data = &r, .weights_owner = o, .staging_owner = o}, &w, &e) ||
        backend_plan(b, g, w, CHUNK, CHUNK, o, &p, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    size_t block = block_bytes(g);
    for (int i = 0; i < (TOK + 63) / 64; i++)
        pages[i] = memset(aligned_alloc(64, block), 0xff, block);
    for (int at = 0; at < TOK; at += chunk) {
        int32_t token[CHUNK], pos[CHUNK], seq[CHUNK] = {0}, wanted[CHUNK];
        int n = TOK - at < chunk ? TOK - at : chunk;
        for (int i = 0; i < n; i++) {
            token[i] = ((at + i) * 5 + 3) % VOCAB;
            pos[i] = at + i;
            wanted[i] = i;
        }
        struct batch_seq s = {{pages, pages}};
        struct batch in = {.token = token,
                           .pos = pos,
                           .seq = seq,
                           .n_tok = n,
                           .seqs = &s,
                           .n_seq = 1,
                           .wanted = wanted,
                           .n_wanted = n};
        if (resting)
            run_resting(b, p, &in, logits + (size_t)at * VOCAB);
        else
            CHECK_INT(backend_run(b, p, &in, logits + (size_t)at * VOCAB, &e), 0);
    }
    for (int i = 0; i < (TOK + 63) / 64; i++)
        free(pages[i]);
    backend_plan_free(p);
    backend_unload(w);
    backend_free(b);
    fs_reader_close(&r);
    CHECK_INT(ledger_held(o), 0);
    ledger_owner_free(o);
}

static const struct op_case cases[] = {
    {"embed, select, linear", {.op = OP_EMBED}, want_embed, DT_F32},
    {"rmsnorm", {.op = OP_RMSNORM, .f = 1e-5f}, want_rmsnorm, DT_F32},
    {"rope", {.op = OP_ROPE, .head_dim = DIM, .rope_base = 1e4f, .rope_scale = 1.0f}, want_rope, DT_F32},
    {"rope neox, scaled",
     {.op = OP_ROPE, .head_dim = DIM, .rope_base = 1e6f, .rope_scale = 4.0f, .neox = true},
     want_rope,
     DT_F32},
    {"attn", {.op = OP_ATTN, .head_dim = DIM}, want_attn, DT_F16},
    {"attn, f32 cache", {.op = OP_ATTN, .head_dim = DIM}, want_attn, DT_F32},
    {"attn, bf16 cache", {.op = OP_ATTN, .head_dim = DIM}, want_attn, DT_BF16},
    {"attn, q8_0 cache", {.op = OP_ATTN, .head_dim = 2 * DIM}, want_attn, DT_Q8_0},
    {"attn, e4m3 cache", {.op = OP_ATTN, .head_dim = DIM}, want_attn, DT_F8_E4M3},
    {"attn, window", {.op = OP_ATTN, .head_dim = DIM, .window = 17}, want_attn, DT_F16},
    {"add", {.op = OP_ADD}, want_add, DT_F32},
    {"scale", {.op = OP_SCALE, .f = 1.7f}, want_scale, DT_F32},
    {"swiglu", {.op = OP_SWIGLU}, want_swiglu, DT_F32},
    {"geglu", {.op = OP_GEGLU}, want_geglu, DT_F32},
};
enum { N_CASE = sizeof cases / sizeof cases[0] };

static void test_values(void)
{
    float *got = calloc(TOK * VOCAB, sizeof *got);
    for (int i = 0; i < N_CASE; i++) {
        struct err e = {0};
        struct graph *g = build(&cases[i]);
        if (graph_check(g, &e))
            fprintf(stderr, "%s: %s\n", cases[i].name, e.msg);
        CHECK_INT(graph_check(g, &e), 0);
        run(g, 0, 2, 40, false, got);
        double worst = 0.0;
        for (int t = 0; t < TOK; t++)
            for (int c = 0; c < W; c++) {
                double d = fabs((double)got[t * VOCAB + c] - cases[i].want(&cases[i], t, c));
                worst = d > worst || isnan(d) ? d : worst;
            }
        static const double limits[DT_COUNT] = {
            [DT_F32] = 2e-5, [DT_F16] = 5e-3, [DT_BF16] = 4e-2, [DT_Q8_0] = 0.15, [DT_F8_E4M3] = 0.5};
        double limit = limits[cases[i].kv];
        if (!(worst < limit))
            fprintf(stderr, "%s: off by %g\n", cases[i].name, worst);
        CHECK(worst < limit);
        graph_free(g);
    }
    free(got);
}

static void test_same_bits(void)
{
    static const struct {
        int threads, chunk;
        bool resting;
    } ways[] = {{1, 1, false}, {2, 7, false}, {3, 64, false}, {1, 64, true}, {2, 33, true}, {3, 5, true}};
    float *want = calloc(TOK * VOCAB, sizeof *want), *got = calloc(TOK * VOCAB, sizeof *got);
    for (int i = 0; i < N_CASE; i++) {
        struct graph *g = build(&cases[i]);
        run(g, 0, 1, 50, false, want);
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++)
            for (int mask = 0; mask < 2; mask++) {
                run(g, mask ? ~0u : 0, ways[w].threads, ways[w].chunk, ways[w].resting, got);
                if (memcmp(got, want, TOK * VOCAB * sizeof *got) != 0)
                    fprintf(stderr, "%s: other bits with %d threads, chunk %d, %s, mask %d\n", cases[i].name,
                            ways[w].threads, ways[w].chunk, ways[w].resting ? "resting" : "in one go", mask);
                CHECK(memcmp(got, want, TOK * VOCAB * sizeof *got) == 0);
            }
        graph_free(g);
    }
    CHECK(rests > N_CASE);
    free(want);
    free(got);
}

enum { DEEP = 2040, DEEP_PAGES = (DEEP + CHUNK) / 64 + 1 };

/* n tokens behind DEEP positions of noise, which `pages` hold. */
static void run_deep(const struct graph *g, unsigned mask, int threads, int n, uint8_t *const *pages, float *logits)
{
    struct err e = {0};
    struct backend *b;
    struct ledger_owner *o;
    struct fs_reader r;
    struct weights *w;
    struct plan *p;
    CHECK_INT(backend_new(&b, &(struct backend_opts){threads, mask}, &e), 0);
    CHECK_INT(ledger_owner_new(ledger, "test", &o, &e), 0);
    CHECK_INT(fs_reader_open(&r, path, &e), 0);
    struct load_args a = {.graph = g, .data = &r, .weights_owner = o, .staging_owner = o};
    CHECK_INT(backend_load(b, &a, &w, &e), 0);
    CHECK_INT(backend_plan(b, g, w, CHUNK, CHUNK, o, &p, &e), 0);
    int32_t token[CHUNK], pos[CHUNK], seq[CHUNK] = {0}, wanted[CHUNK];
    for (int i = 0; i < n; i++) {
        token[i] = (i * 5 + 3) % VOCAB;
        pos[i] = DEEP + i;
        wanted[i] = i;
    }
    struct batch_seq s = {{pages, pages}};
    struct batch in = {
        .token = token, .pos = pos, .seq = seq, .n_tok = n, .seqs = &s, .n_seq = 1, .wanted = wanted, .n_wanted = n};
    for (int twice = 0; twice < 2; twice++) /* nothing stays behind from a step */
        CHECK_INT(backend_run(b, p, &in, logits, &e), 0);
    backend_plan_free(p);
    backend_unload(w);
    backend_free(b);
    fs_reader_close(&r);
    ledger_owner_free(o);
}

/* Threads share a long sequence by segments; some tokens lie before, some behind the border of one (2048). */
static void test_split_sequences(void)
{
    static const int counts[] = {1, 5, 8, 20};
    float *want = calloc(CHUNK * VOCAB, sizeof *want), *got = calloc(CHUNK * VOCAB, sizeof *got);
    for (int window = 0; window <= 700; window += 700) {
        struct op_case c = {"deep", {.op = OP_ATTN, .head_dim = DIM, .window = window}, want_attn, DT_F16};
        struct graph *g = build(&c);
        g->n_ctx = 4096;
        uint8_t *pages[DEEP_PAGES];
        unsigned seed = 5;
        for (int i = 0; i < DEEP_PAGES; i++) {
            uint16_t *half = malloc(block_bytes(g));
            for (size_t j = 0; j < block_bytes(g) / 2; j++)
                half[j] = f32_to_f16(noise(&seed));
            pages[i] = (uint8_t *)half;
        }
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            run_deep(g, 0, 1, counts[i], pages, want);
            for (int threads = 2; threads <= 5; threads++) {
                run_deep(g, ~0u, threads, counts[i], pages, got);
                CHECK(memcmp(got, want, (size_t)counts[i] * VOCAB * sizeof *got) == 0);
            }
        }
        for (int i = 0; i < DEEP_PAGES; i++)
            free(pages[i]);
        graph_free(g);
    }
    free(want);
    free(got);
}

static void test_every_op_has_a_case(void)
{
    for (int op = 0; op < OP_COUNT; op++) {
        bool seen = op == OP_SELECT || op == OP_LINEAR; /* part of every case */
        for (int i = 0; i < N_CASE; i++)
            seen = seen || cases[i].node.op == (enum graph_op)op;
        CHECK(seen);
    }
}

static enum batch_go cancel(void *arg)
{
    (void)arg;
    return BATCH_CANCEL;
}

/* What a caller may get wrong is an error; a cancelled step says so. */
static void test_refusals(void)
{
    struct err e = {0};
    struct graph *g = build(&cases[4]);
    struct backend *b;
    struct ledger_owner *o;
    struct fs_reader r;
    struct weights *w = NULL;
    struct plan *p = NULL;
    CHECK_INT(backend_new(&b, &(struct backend_opts){2, ~0u}, &e), 0);
    CHECK_INT(ledger_owner_new(ledger, "test", &o, &e), 0);
    CHECK_INT(fs_reader_open(&r, path, &e), 0);
    CHECK_INT(
        backend_load(b, &(struct load_args){.graph = g, .data = &r, .weights_owner = o, .staging_owner = o}, &w, &e),
        0);
    CHECK_INT(backend_plan(b, g, w, 0, 1, o, &p, &e), ERR_RANGE);
    CHECK_INT(backend_plan(b, g, w, 2, 1, o, &p, &e), 0);
    CHECK_INT(ledger_held(o), backend_weights_bytes(b, g) + backend_plan_bytes(b, g, 2, 1));
    uint8_t *page = aligned_alloc(64, block_bytes(g));
    float logits[VOCAB];
    int32_t token[3] = {1, VOCAB, 2}, pos[3] = {0, 1, 2}, seq[3] = {0}, wanted[1] = {0};
    struct batch_seq s = {{&page, &page}};
    struct batch in = {
        .token = token, .pos = pos, .seq = seq, .n_tok = 3, .seqs = &s, .n_seq = 1, .wanted = wanted, .n_wanted = 1};
    CHECK_INT(backend_run(b, p, &in, logits, &e), ERR_RANGE); /* more than planned */
    in.n_tok = 2;
    CHECK_INT(backend_run(b, p, &in, logits, &e), ERR_RANGE); /* token id */
    in.n_tok = 1;
    in.poll = cancel;
    CHECK_INT(backend_run(b, p, &in, logits, &e), ERR_CANCELLED);
    free(page);
    backend_plan_free(p);
    backend_unload(w);
    /* a file that ends early: an error, and nothing stays reserved */
    CHECK_INT(truncate(path, 1000), 0);
    struct fs_reader cut;
    CHECK_INT(fs_reader_open(&cut, path, &e), 0);
    w = NULL;
    CHECK(backend_load(b, &(struct load_args){.graph = g, .data = &cut, .weights_owner = o, .staging_owner = o}, &w,
                       &e) < 0);
    CHECK(w == NULL && strstr(e.msg, "reading tensor"));
    CHECK_INT(ledger_held(o), 0);
    fs_reader_close(&cut);
    fs_reader_close(&r);
    backend_free(b);
    ledger_owner_free(o);
    graph_free(g);
}

int main(void)
{
    make_weights();
    if (ledger_new(&ledger, (size_t)1 << 30, NULL))
        return 1;
    RUN(test_every_op_has_a_case);
    RUN(test_values);
    RUN(test_same_bits);
    RUN(test_split_sequences);
    RUN(test_refusals);
    ledger_free(ledger);
    for (int i = 0; i < N_W; i++)
        free(weights[i]);
    unlink(path);
    return check_done();
}
