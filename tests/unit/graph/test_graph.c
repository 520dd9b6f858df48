/* graph: what graph_check accepts and what it refuses, row by row of the op table. */
#include "graph/graph.h"

#include "unit/check.h"

enum { EMBD = 16, VOCAB = 40, HEADS = 2, DIM = 8 };

static int weight(struct graph *g, const char *name, uint64_t rows, uint64_t k)
{
    struct graph_weight w = {.dtype = DT_F32, .rows = rows, .k = k, .bytes = rows * k * 4};
    snprintf(w.name, sizeof w.name, "%s", name);
    return graph_add_weight(g, &w);
}

static int node(struct graph *g, struct graph_node n, int width, bool wanted)
{
    return graph_add(g, &n, width, wanted);
}

/* embed -> rope -> attention -> select -> head: the smallest whole model. */
static struct graph *small(void)
{
    struct graph *g = graph_new();
    g->n_vocab = VOCAB;
    int e = weight(g, "embd", VOCAB, EMBD);
    int x = node(g, (struct graph_node){.op = OP_EMBED, .w = {e, -1}}, EMBD, false);
    int r = node(g,
                 (struct graph_node){
                     .op = OP_ROPE, .in = {x}, .w = {-1, -1}, .head_dim = DIM, .rope_base = 1e4f, .rope_scale = 1},
                 EMBD, false);
    int layer = graph_add_kv(g, HEADS, DIM, 0, DT_F16);
    int a = node(g,
                 (struct graph_node){.op = OP_ATTN,
                                     .in = {r, r, x},
                                     .w = {-1, -1},
                                     .layer = layer,
                                     .n_head = HEADS,
                                     .n_kv_head = HEADS,
                                     .head_dim = DIM},
                 EMBD, false);
    int s = node(g, (struct graph_node){.op = OP_SELECT, .in = {a}, .w = {-1, -1}}, EMBD, true);
    g->logits = node(g, (struct graph_node){.op = OP_LINEAR, .in = {s}, .w = {e, -1}}, VOCAB, true);
    return g;
}

static int code_of(struct graph *g)
{
    struct err e = {0};
    int rc = graph_check(g, &e);
    CHECK(rc == 0 || e.msg[0]);
    graph_free(g);
    return rc;
}

static void test_good(void)
{
    CHECK_INT(code_of(small()), 0);
}

static void test_shapes(void)
{
    struct graph *g = small();
    g->node[1].head_dim = 7;
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    g->weight[0].k = EMBD + 1;
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    g->node[2].n_kv_head = 0;
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    g->node[2].layer = 1;
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    g->n_vocab = VOCAB - 1;
    CHECK_INT(code_of(g), ERR_FORMAT);
}

static void test_order_and_ids(void)
{
    struct graph *g = small();
    g->node[1].in[0] = 3; /* defined later */
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    g->node[4].w[0] = 9;
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    g->node[3].w[0] = 0; /* select takes no weight */
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    g->node[0].op = (enum graph_op)OP_COUNT;
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    g->logits = -1;
    CHECK_INT(code_of(g), ERR_FORMAT);
}

static void test_rows(void)
{
    struct graph *g = small();
    g->value[g->node[3].out].wanted_rows = false; /* select must end in wanted rows */
    CHECK_INT(code_of(g), ERR_FORMAT);
    g = small();
    node(g, (struct graph_node){.op = OP_ADD, .in = {0, 3}, .w = {-1, -1}}, EMBD, false);
    CHECK_INT(code_of(g), ERR_FORMAT);
}

static void test_kv_layout(void)
{
    struct graph *g = graph_new();
    CHECK_INT(graph_add_kv(g, 2, 64, 0, DT_F16), 0);
    CHECK_INT(graph_add_kv(g, 1, 128, 512, DT_F32), 1);
    CHECK_INT(g->kv[0].v_off - g->kv[0].k_off, 2 * 64 * 64 * 2);
    CHECK_INT(graph_add_kv(g, 2, 64, 0, DT_F16), 2);
    CHECK_INT(g->kv[2].k_off, 2 * 2 * 64 * 64 * 2);
    CHECK_INT(g->kv[1].k_off, 0); /* a layer with a window begins the other class's block */
    CHECK(g->kv[0].cls == 0 && g->kv[1].cls == 1 && g->kv[2].cls == 0);
    CHECK_INT(g->kv_class[0].block_bytes, 2 * 2 * 2 * 64 * 64 * 2);
    CHECK_INT(g->kv_class[0].window, 0);
    CHECK_INT(g->kv_class[1].block_bytes, 2 * 128 * 64 * 4);
    CHECK_INT(graph_add_kv(g, 1, 64, 1024, DT_F16), 3);
    CHECK_INT(g->kv_class[1].window, 1024);
    size_t before = g->kv_class[0].block_bytes;
    CHECK_INT(graph_add_kv(g, 2, 64, 0, DT_Q8_0), 4);
    CHECK_INT(g->kv[4].dtype, DT_Q8_0);
    CHECK_INT(g->kv_class[0].block_bytes - before, 2 * 2 * 64 * 68); /* 64 codes and two scales a key */
    before = g->kv_class[0].block_bytes;
    CHECK_INT(graph_add_kv(g, 2, 80, 0, DT_Q8_0), 5); /* no groups of 32 */
    CHECK_INT(g->kv[5].dtype, DT_F16);
    CHECK_INT(g->kv_class[0].block_bytes - before, 2 * 2 * 64 * 80 * 2);
    CHECK_INT(graph_add_kv(g, 1, 80, 0, DT_F8_E4M3), 6);
    CHECK_INT(g->kv[6].head_bytes, 64 * 80);
    graph_free(g);
}

static void test_rope_tables(void)
{
    struct graph *g = small();
    struct graph_node n = {
        .op = OP_ROPE, .in = {0}, .w = {-1, -1}, .head_dim = DIM, .rope_base = 1e4f, .rope_scale = 1};
    node(g, n, EMBD, false);
    CHECK_INT(g->n_rope, 1);
    n.rope_base = 1e6f;
    node(g, n, EMBD, false);
    CHECK_INT(g->n_rope, 2);
    graph_free(g);
}

static void test_table(void)
{
    for (int i = 0; i < OP_COUNT; i++) {
        const struct graph_op_info *o = graph_op_info((enum graph_op)i);
        CHECK(o && o->name && o->n_in <= 3 && o->n_w_min <= o->n_w_max && o->n_w_max <= 2);
    }
    CHECK(!graph_op_info(OP_COUNT));
}

int main(void)
{
    RUN(test_good);
    RUN(test_shapes);
    RUN(test_order_and_ids);
    RUN(test_rows);
    RUN(test_kv_layout);
    RUN(test_rope_tables);
    RUN(test_table);
    return check_done();
}
