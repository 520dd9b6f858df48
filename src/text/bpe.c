/* bpe: repeatedly merges the pair of neighbours with the best key, leftmost first among equals.
 *
 * Short words scan all pairs again after each merge; long ones keep pairs in a heap and symbols in a linked list, so a
 * megabyte without a space costs n log n. The key of a pair is the merge's rank (byte-level) or made from the score of the
 * piece it becomes (SentencePiece). For the latter, Hugging Face's list of merges orders equal scores by the longer left,
 * then the longer right part, and gives user-defined pieces score 0, whatever the file says: both are part of the key. */
#include "text/bpe.h"
#include "base/mem.h"
#include "text/utf8.h"
#include <string.h>

#define BPE_NONE UINT64_MAX
enum { SHORT_WORD = 32, MAX_WORD = 4 << 20 /* about 100 bytes of scratch each */ };

struct bpe_entry {
    uint64_t key;
    uint32_t sym;
};

static uint32_t pair_hash(int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32);
}

static const struct bpe_merge *merge_find(const struct bpe *b, int32_t left, int32_t right)
{
    for (uint32_t k = pair_hash(left, right) & b->mask; b->slot[k].left >= 0; k = (k + 1) & b->mask)
        if (b->slot[k].left == left && b->slot[k].right == right)
            return &b->slot[k];
    return NULL;
}

/* ---- loading ---- */

/* Merges mostly make the tokens in their order: looking at the next id first saves the slow, scattered lookup. */
static int32_t find_near(const struct vocab *v, int32_t near, const char *s, size_t n)
{
    const char *p;
    if (near < (int32_t)v->n && vocab_text(v, near, &p) == n && memcmp(p, s, n) == 0 &&
        (VOCAB_BIT(v->type[near]) & VOCAB_PLAIN))
        return near;
    return vocab_find(v, s, n, VOCAB_PLAIN);
}

/* One line "left right" of the merges. Parts that are not in the vocabulary can never meet: such a merge is left out. */
static int merge_add(struct bpe *b, struct file_str line, uint32_t rank, char *tmp, int32_t *near, struct err *e)
{
    const char *space = memchr(line.p, ' ', line.n);
    if (!space)
        return err_set(e, ERR_FORMAT, "merge %u of the tokenizer is not a pair", rank);
    size_t nl = (size_t)(space - line.p);
    size_t a = vocab_unspell(line.p, nl, tmp), ab = a + vocab_unspell(space + 1, line.n - nl - 1, tmp + a);
    int32_t left = vocab_find(b->v, tmp, a, VOCAB_PLAIN), right = vocab_find(b->v, tmp + a, ab - a, VOCAB_PLAIN);
    int32_t id = find_near(b->v, *near, tmp, ab);
    *near = id + 1;
    if (left < 0 || right < 0 || id < 0)
        return 0;
    uint32_t k = pair_hash(left, right) & b->mask;
    for (; b->slot[k].left >= 0; k = (k + 1) & b->mask)
        if (b->slot[k].left == left && b->slot[k].right == right)
            return 0;
    b->slot[k] = (struct bpe_merge){left, right, id, rank};
    return 0;
}

static int load_merges(struct bpe *b, const struct model_file *f, struct err *e)
{
    struct file_array a;
    int rc = file_get_array(f, "tokenizer.ggml.merges", FV_STRING, &a, e);
    if (rc)
        return rc;
    if (a.n > 1u << 24)
        return err_set(e, ERR_LIMIT, "the tokenizer has %llu merges", (unsigned long long)a.n);
    size_t size = 16, longest = 0;
    while (size < a.n + a.n / 2)
        size *= 2;
    for (uint64_t i = 0; i < a.n; i++)
        if (a.strs[i].n > longest)
            longest = a.strs[i].n;
    char *tmp = mem_alloc(longest + 1);
    b->slot = mem_alloc(size * sizeof *b->slot);
    if (!tmp || !b->slot) {
        mem_free(tmp);
        return err_set(e, ERR_NOMEM, "no memory for %llu merges", (unsigned long long)a.n);
    }
    memset(b->slot, 0xFF, size * sizeof *b->slot); /* left -1 */
    b->mask = (uint32_t)(size - 1);
    b->held += size * sizeof *b->slot;
    int32_t near = 0;
    for (uint64_t i = 0; i < a.n && !rc; i++)
        rc = merge_add(b, a.strs[i], (uint32_t)i, tmp, &near, e);
    mem_free(tmp);
    return rc;
}

/* A float's bits, turned so that the greater score is the smaller number. */
static uint32_t score_order(float score)
{
    uint32_t u;
    memcpy(&u, &score, 4);
    if (score == 0)
        u = 0; /* -0 is 0 */
    u = u >> 31 ? ~u : u | 0x80000000u;
    return ~u;
}

static int load_scores(struct bpe *b, const struct model_file *f, struct err *e)
{
    struct file_array a;
    int rc = file_get_array(f, "tokenizer.ggml.scores", FV_F32, &a, e);
    if (rc)
        return rc;
    if (a.n != b->v->n)
        return err_set(e, ERR_FORMAT, "%llu scores for %u tokens", (unsigned long long)a.n, b->v->n);
    b->order = mem_calloc(b->v->n, sizeof *b->order);
    if (!b->order)
        return err_set(e, ERR_NOMEM, "no memory for %u scores", b->v->n);
    b->held += b->v->n * sizeof *b->order;
    b->space_starts = true;
    for (uint32_t i = 0; i < b->v->n; i++) {
        float score;
        memcpy(&score, (const char *)a.data + (size_t)i * 4, 4);
        b->order[i] = score_order(b->v->type[i] == VOCAB_USER ? 0.0f : score);
        if (!(VOCAB_BIT(b->v->type[i]) & VOCAB_PLAIN))
            continue;
        const char *s;
        size_t n = vocab_text(b->v, (int32_t)i, &s);
        for (size_t k = 3; k + 3 <= n; k++)
            if ((unsigned char)s[k] == 0xE2 && !memcmp(s + k, "\xE2\x96\x81", 3) &&
                memcmp(s + k - 3, "\xE2\x96\x81", 3) != 0)
                b->space_starts = false;
        for (size_t k = 1; k < 3 && k + 3 <= n; k++)
            if ((unsigned char)s[k] == 0xE2 && !memcmp(s + k, "\xE2\x96\x81", 3))
                b->space_starts = false;
    }
    return 0;
}

int bpe_load(struct bpe *b, const struct vocab *v, const struct model_file *f, struct err *e)
{
    memset(b, 0, sizeof *b);
    b->v = v;
    b->unknown = -1;
    uint32_t unk;
    if (!v->bytes_as_text && !file_get_u32(f, "tokenizer.ggml.unknown_token_id", &unk, NULL) && unk < v->n)
        b->unknown = (int32_t)unk;
    for (int c = 0; c < 128; c++) {
        char s = (char)c;
        b->ascii[c] = vocab_find(v, &s, 1, VOCAB_PLAIN);
    }
    return v->bytes_as_text ? load_merges(b, f, e) : load_scores(b, f, e);
}

void bpe_done(struct bpe *b)
{
    mem_free(b->slot);
    mem_free(b->order);
    b->slot = NULL;
    b->order = NULL;
}

void bpe_work_done(struct bpe_work *w)
{
    mem_free(w->sym);
    mem_free(w->heap);
    memset(w, 0, sizeof *w);
}

/* ---- merging ---- */

int bpe_emit(struct token_list *out, int32_t id, struct err *e)
{
    if (out->n == out->cap) {
        int32_t *p = mem_grow(out->id, &out->cap, out->n + 1, sizeof *p);
        if (!p)
            return err_set(e, ERR_NOMEM, "no memory for %zu tokens", out->n + 1);
        out->id = p;
    }
    out->id[out->n++] = id;
    return 0;
}

/* Fills in what symbol x would become with its right neighbour y. */
static void pair(const struct bpe *b, const char *s, struct bpe_symbol *x, const struct bpe_symbol *y)
{
    x->key = BPE_NONE;
    if (x->id < 0 || y->id < 0)
        return;
    if (!b->order) {
        const struct bpe_merge *m = merge_find(b, x->id, y->id);
        if (!m)
            return;
        x->key = m->rank;
        x->merged = m->id;
        return;
    }
    if (x->len + y->len > b->v->max_len)
        return;
    int32_t id = vocab_find(b->v, s + x->pos, x->len + y->len, VOCAB_PLAIN);
    if (id < 0)
        return;
    uint32_t cx = x->chars < 255 ? x->chars : 255, cy = y->chars < 255 ? y->chars : 255;
    x->key = (uint64_t)b->order[id] << 16 | (255 - cx) << 8 | (255 - cy);
    x->merged = id;
}

static void join(struct bpe_symbol *x, const struct bpe_symbol *y)
{
    x->id = x->merged;
    x->len += y->len;
    x->chars += y->chars;
}

/* Scan, merge, close the gap: quadratic with a tiny constant. Returns the number of symbols left. */
static size_t merge_short(const struct bpe *b, const char *s, struct bpe_symbol *sym, size_t n)
{
    for (;;) {
        size_t best = 0;
        uint64_t key = BPE_NONE;
        for (size_t i = 0; i + 1 < n; i++)
            if (sym[i].key < key)
                key = sym[i].key, best = i;
        if (key == BPE_NONE)
            return n;
        join(&sym[best], &sym[best + 1]);
        n--;
        memmove(&sym[best + 1], &sym[best + 2], (n - best - 1) * sizeof *sym);
        sym[best].key = BPE_NONE;
        if (best + 1 < n)
            pair(b, s, &sym[best], &sym[best + 1]);
        if (best > 0)
            pair(b, s, &sym[best - 1], &sym[best]);
    }
}

static bool entry_less(const struct bpe_entry *x, const struct bpe_entry *y)
{
    return x->key != y->key ? x->key < y->key : x->sym < y->sym;
}

static void heap_push(struct bpe_entry *h, size_t *n, struct bpe_entry x)
{
    size_t i = (*n)++;
    for (; i > 0 && entry_less(&x, &h[(i - 1) / 2]); i = (i - 1) / 2)
        h[i] = h[(i - 1) / 2];
    h[i] = x;
}

static struct bpe_entry heap_pop(struct bpe_entry *h, size_t *n)
{
    struct bpe_entry top = h[0], x = h[--*n];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < *n; i = c) {
        if (c + 1 < *n && entry_less(&h[c + 1], &h[c]))
            c++;
        if (!entry_less(&h[c], &x))
            break;
        h[i] = h[c];
    }
    h[i] = x;
    return top;
}

/* Every merge removes one pair and brings at most two new ones, so 3n entries are enough. */
static int merge_long(const struct bpe *b, struct bpe_work *w, const char *s, size_t *n_sym, struct err *e)
{
    size_t n = *n_sym, n_heap = 0;
    if (w->heap_cap < 3 * n) {
        struct bpe_entry *p = mem_grow(w->heap, &w->heap_cap, 3 * n, sizeof *p);
        if (!p)
            return err_set(e, ERR_NOMEM, "no memory to tokenise a word of %zu symbols", n);
        w->heap = p;
    }
    struct bpe_symbol *sym = w->sym;
    const uint32_t end = (uint32_t)n;
    for (uint32_t i = 0; i < end; i++) {
        sym[i].prev = i - 1; /* of the first: UINT32_MAX */
        sym[i].next = i + 1;
        if (sym[i].key != BPE_NONE)
            heap_push(w->heap, &n_heap, (struct bpe_entry){sym[i].key, i});
    }
    while (n_heap) {
        struct bpe_entry top = heap_pop(w->heap, &n_heap);
        struct bpe_symbol *x = &sym[top.sym];
        if (x->key != top.key)
            continue; /* merged away or with another partner since */
        struct bpe_symbol *y = &sym[x->next];
        join(x, y);
        y->key = BPE_NONE;
        y->len = 0;
        x->next = y->next;
        x->key = BPE_NONE;
        if (x->next < end) {
            sym[x->next].prev = top.sym;
            pair(b, s, x, &sym[x->next]);
            if (x->key != BPE_NONE)
                heap_push(w->heap, &n_heap, (struct bpe_entry){x->key, top.sym});
        }
        if (x->prev < end) {
            struct bpe_symbol *p = &sym[x->prev];
            pair(b, s, p, x);
            if (p->key != BPE_NONE)
                heap_push(w->heap, &n_heap, (struct bpe_entry){p->key, x->prev});
        }
    }
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (sym[i].len)
            sym[k++] = sym[i];
    *n_sym = k;
    return 0;
}

/* Cuts the word into single bytes or characters and looks at every pair once. */
static size_t symbols(const struct bpe *b, const char *s, size_t n, struct bpe_symbol *sym)
{
    size_t k = 0;
    for (size_t i = 0; i < n; k++) {
        struct bpe_symbol *x = &sym[k];
        unsigned char c = (unsigned char)s[i];
        int32_t cp;
        if (!b->order &&
            b->v->byte_id[c] < 0) { /* no token, no "unknown" (a control token there): left out, as its own tools do */
            i++, k--;
            continue;
        }
        *x = (struct bpe_symbol){.key = BPE_NONE, .pos = i, .len = 1, .chars = 1};
        if (!b->order)
            x->id = b->v->byte_id[c];
        else if (c < 0x80)
            x->id = b->ascii[c];
        else {
            x->len = (uint32_t)utf8_decode(s + i, n - i, &cp);
            x->id = cp < 0 ? -1 : vocab_find(b->v, s + i, x->len, VOCAB_PLAIN);
        }
        i += x->len;
        if (k)
            pair(b, s, &sym[k - 1], x);
    }
    return k;
}

/* What is not in the vocabulary goes out as byte tokens; where one is missing, as "unknown", once per stretch. */
static int emit_symbol(const struct bpe *b, const char *s, const struct bpe_symbol *x, bool *unknown,
                       struct token_list *out, struct err *e)
{
    bool bytes = true;
    for (uint32_t i = 0; x->id < 0 && i < x->len; i++)
        bytes = bytes && b->v->byte_id[(unsigned char)s[x->pos + i]] >= 0;
    if (x->id < 0 && !bytes) {
        bool again = *unknown;
        *unknown = true;
        return again || b->unknown < 0 ? 0 : bpe_emit(out, b->unknown, e);
    }
    *unknown = false;
    if (x->id >= 0)
        return bpe_emit(out, x->id, e);
    int rc = 0;
    for (uint32_t i = 0; !rc && i < x->len; i++)
        rc = bpe_emit(out, b->v->byte_id[(unsigned char)s[x->pos + i]], e);
    return rc;
}

int bpe_word(const struct bpe *b, struct bpe_work *w, const char *s, size_t n, struct token_list *out, struct err *e)
{
    if (n > MAX_WORD)
        return err_set(e, ERR_LIMIT, "a word of %zu bytes is longer than %d", n, MAX_WORD);
    if (b->whole_words) {
        int32_t id = vocab_find(b->v, s, n, VOCAB_BIT(VOCAB_NORMAL));
        if (id >= 0)
            return bpe_emit(out, id, e);
    }
    if (w->cap < n) {
        struct bpe_symbol *p = mem_grow(w->sym, &w->cap, n, sizeof *p);
        if (!p)
            return err_set(e, ERR_NOMEM, "no memory to tokenise a word of %zu bytes", n);
        w->sym = p;
    }
    size_t k = symbols(b, s, n, w->sym);
    int rc = 0;
    if (k <= SHORT_WORD)
        k = merge_short(b, s, w->sym, k);
    else
        rc = merge_long(b, w, s, &k, e);
    bool unknown = false;
    for (size_t i = 0; i < k && !rc; i++)
        rc = emit_symbol(b, s, &w->sym[i], &unknown, out, e);
    return rc;
}
