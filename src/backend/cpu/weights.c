/* weights: where each weight lies, packed, in one piece of memory in the order in which the graph names them, which is the order in
 * which a step reads them. loader.c fills it. */
#include "backend/cpu/cpu.h"
#include "base/mem.h"

size_t weights_row_bytes(const struct graph_weight *w)
{
    const struct dtype_info *d = dtype_info(w->dtype);
    return (size_t)(w->k / d->block) * d->bytes;
}

size_t weights_packed_bytes(const struct kernels *k, const struct graph_weight *w)
{
    if (w->use == WEIGHT_LINEAR)
        return (size_t)((w->rows + KERNEL_MR - 1) / KERNEL_MR) * k->linear[w->dtype].group_bytes((size_t)w->k);
    if (w->use == WEIGHT_EMBED)
        return cpu_round((size_t)w->bytes);
    return cpu_round((size_t)(w->rows * w->k) * sizeof(float));
}

size_t backend_weights_bytes(const struct backend *b, const struct graph *g)
{
    size_t sum = 0;
    for (int i = 0; i < g->n_weight; i++)
        sum += weights_packed_bytes(&b->kernels, &g->weight[i]);
    return sum;
}

void backend_unload(struct weights *w)
{
    if (!w)
        return;
    if (w->mem)
        ledger_dealloc(w->owner, w->mem, w->mem_bytes);
    mem_free(w->packed);
    mem_free(w);
}

static int weights_layout(struct weights *w, const struct backend *b, const struct graph *g, struct err *e)
{
    w->n = g->n_weight;
    w->packed = mem_calloc((size_t)g->n_weight, sizeof *w->packed);
    if (!w->packed)
        return err_set(e, ERR_NOMEM, "out of memory for the table of weights");
    w->mem_bytes = backend_weights_bytes(b, g);
    int rc = ledger_alloc(w->owner, w->mem_bytes, &w->mem, e);
    if (rc)
        return rc;
    uint8_t *p = w->mem;
    for (int i = 0; i < g->n_weight; i++) {
        const struct graph_weight *gw = &g->weight[i];
        w->packed[i].data = p;
        w->packed[i].bytes = weights_packed_bytes(&b->kernels, gw);
        if (gw->use == WEIGHT_LINEAR)
            w->packed[i].group_bytes = b->kernels.linear[gw->dtype].group_bytes((size_t)gw->k);
        p += w->packed[i].bytes;
    }
    return 0;
}

int backend_load(struct backend *b, const struct load_args *a, struct weights **out, struct err *e)
{
    struct weights *w = mem_calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory for the table of weights");
    w->owner = a->weights_owner;
    int rc = weights_layout(w, b, a->graph, e);
    if (!rc)
        rc = loader_fill(b, a, w, e);
    if (rc) {
        backend_unload(w);
        return rc;
    }
    *out = w;
    return 0;
}
