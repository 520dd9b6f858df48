/* vocab: token texts in two flat blobs and one open-addressing hash. Byte-level spellings are undone once here, so that
 * everything else works on bytes. Hostile files: counts and lengths are bounded by the header they came from. */
#include "text/vocab.h"
#include "base/mem.h"
#include "text/utf8.h"
#include <string.h>

enum { MAX_TOKENS = 1 << 24 };

static uint32_t hash(const char *s, size_t n)
{
    uint64_t h = n * 0x9E3779B97F4A7C15u, w = 0;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&w, s, 8);
        h = (h ^ w) * 0xBF58476D1CE4E5B9u;
        h ^= h >> 29;
    }
    w = 0;
    memcpy(&w, s, n);
    h = (h ^ w) * 0x94D049BB133111EBu;
    return (uint32_t)(h ^ h >> 32);
}

/* The alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards in order. */
static int byte_of(int32_t cp)
{
    static const struct {
        int first, last;
    } plain[] = {{0x21, 0x7E}, {0xA1, 0xAC}, {0xAE, 0xFF}};
    for (int i = 0; i < 3; i++)
        if (cp >= plain[i].first && cp <= plain[i].last)
            return cp;
    if (cp < 0x100 || cp > 0x143)
        return -1;
    int k = cp - 0x100; /* the k-th byte of the gaps 00..20, 7F..A0, AD */
    return k <= 0x20 ? k : k <= 0x42 ? k - 0x21 + 0x7F : 0xAD;
}

size_t vocab_unspell(const char *s, size_t n, char *dst)
{
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        size_t len = utf8_decode(s + i, n - i, &cp);
        int b = byte_of(cp);
        if (b >= 0) {
            dst[out++] = (char)b;
        } else {
            memcpy(dst + out, s + i, len);
            out += len;
        }
        i += len;
    }
    return out;
}

static int load_types(struct vocab *v, const struct model_file *f, struct err *e)
{
    static const char *key = "tokenizer.ggml.token_type";
    memset(v->type, VOCAB_NORMAL, v->n);
    struct file_array a;
    if (!file_kv_find(f, key))
        return 0;
    int rc = file_get_array(f, key, FV_I32, &a, NULL);
    if (rc)
        rc = file_get_array(f, key, FV_U32, &a, e);
    if (rc)
        return rc;
    if (a.n != v->n)
        return err_set(e, ERR_FORMAT, "%s has %llu entries for %u tokens", key, (unsigned long long)a.n, v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        int32_t t;
        memcpy(&t, (const char *)a.data + (size_t)i * 4, 4);
        v->type[i] = (uint8_t)(t >= VOCAB_NORMAL && t <= VOCAB_BYTE ? t : VOCAB_NORMAL);
    }
    return 0;
}

static bool strings_new(struct vocab_strings *s, size_t bytes, uint32_t n, size_t *held)
{
    s->data = mem_alloc(bytes + 1);
    s->off = mem_calloc((size_t)n + 1, sizeof *s->off);
    *held += bytes + 1 + ((size_t)n + 1) * sizeof *s->off;
    return s->data && s->off;
}

static void texts_byte_level(struct vocab *v, const struct file_str *tok)
{
    uint32_t off = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        v->text.off[i] = off;
        if (v->type[i] == VOCAB_NORMAL) {
            off += (uint32_t)vocab_unspell(tok[i].p, tok[i].n, v->text.data + off);
        } else {
            memcpy(v->text.data + off, tok[i].p, tok[i].n);
            off += (uint32_t)tok[i].n;
        }
    }
    v->text.off[v->n] = off;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* "<0xAB>" -> 0xAB, else -1 */
static int byte_token(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex(s[3]) < 0 || hex(s[4]) < 0)
        return -1;
    return hex(s[3]) * 16 + hex(s[4]);
}

/* SentencePiece spells a space U+2581. Converters write the user-defined runs of it as spaces: they are spelled back. */
static void texts_sentencepiece(struct vocab *v, const struct file_str *tok)
{
    uint32_t off = 0, shown = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        v->text.off[i] = off;
        v->shown.off[i] = shown;
        const char *s = tok[i].p;
        size_t n = tok[i].n;
        bool plain = v->type[i] == VOCAB_NORMAL || v->type[i] == VOCAB_USER;
        int b = v->type[i] == VOCAB_BYTE ? byte_token(s, n) : -1;
        for (size_t k = 0; k < n; k++) {
            bool space = plain && n - k >= 3 && memcmp(s + k, "\xE2\x96\x81", 3) == 0;
            if (space || (v->type[i] == VOCAB_USER && s[k] == ' ')) {
                memcpy(v->text.data + off, "\xE2\x96\x81", 3);
                off += 3;
                v->shown.data[shown++] = ' ';
                k += space ? 2 : 0;
            } else {
                v->text.data[off++] = s[k];
                if (b < 0)
                    v->shown.data[shown++] = s[k];
            }
        }
        if (b >= 0)
            v->shown.data[shown++] = (char)b;
    }
    v->text.off[v->n] = off;
    v->shown.off[v->n] = shown;
}

/* The slot for a text: free, or taken by the same text and type already. NULL if too many others lie in the way, which
 * only a file made to be slow achieves. */
static struct vocab_slot *index_slot(const struct vocab *v, uint32_t h, const char *s, size_t n, uint8_t type)
{
    enum { MAX_PROBES = 1000 };
    for (uint32_t i = 0; i < MAX_PROBES; i++) {
        struct vocab_slot *slot = &v->slot[(h + i) & v->mask];
        const char *p;
        if (slot->id < 0)
            return slot;
        if (slot->hash == h && v->type[slot->id] == type && vocab_text(v, slot->id, &p) == n && memcmp(p, s, n) == 0)
            return slot;
    }
    return NULL;
}

static int index_new(struct vocab *v, struct err *e)
{
    uint32_t size = 16;
    while (size < v->n + v->n / 2)
        size *= 2;
    v->slot = mem_alloc(size * sizeof *v->slot);
    if (!v->slot)
        return err_set(e, ERR_NOMEM, "no memory to index %u tokens", v->n);
    memset(v->slot, 0xFF, size * sizeof *v->slot); /* id -1 */
    v->mask = size - 1;
    v->held += size * sizeof *v->slot;
    for (uint32_t i = 0; i < v->n; i++) {
        const char *s;
        size_t n = vocab_text(v, (int32_t)i, &s);
        uint32_t h = hash(s, n);
        struct vocab_slot *slot = index_slot(v, h, s, n, v->type[i]);
        if (!slot)
            return err_set(e, ERR_FORMAT, "the vocabulary's texts collide (at token %u)", i);
        if (slot->id < 0)
            *slot = (struct vocab_slot){h, (int32_t)i};
        if ((VOCAB_BIT(v->type[i]) & VOCAB_PLAIN) && n > v->max_len && n <= VOCAB_MAX_MATCH)
            v->max_len = (uint32_t)n;
    }
    return 0;
}

static void index_bytes(struct vocab *v)
{
    for (int b = 0; b < 256; b++) {
        char c = (char)b;
        if (v->bytes_as_text)
            v->byte_id[b] = vocab_find(v, &c, 1, VOCAB_PLAIN);
    }
    for (uint32_t i = 0; i < v->n && !v->bytes_as_text; i++) {
        const char *s;
        size_t n = vocab_text(v, (int32_t)i, &s);
        int b = v->type[i] == VOCAB_BYTE ? byte_token(s, n) : -1;
        if (b >= 0 && v->byte_id[b] < 0)
            v->byte_id[b] = (int32_t)i;
    }
}

/* Bytes a text may take here: a SentencePiece space may grow to the three bytes of U+2581. */
static size_t text_room(struct file_str s, bool byte_level)
{
    size_t n = s.n;
    for (size_t i = 0; !byte_level && i < s.n; i++)
        n += s.p[i] == ' ' ? 2 : 0;
    return n;
}

int vocab_load(struct vocab *v, const struct model_file *f, bool byte_level, struct err *e)
{
    memset(v, 0, sizeof *v);
    memset(v->byte_id, 0xFF, sizeof v->byte_id);
    v->bytes_as_text = byte_level;
    struct file_array a;
    int rc = file_get_array(f, "tokenizer.ggml.tokens", FV_STRING, &a, e);
    if (rc)
        return rc;
    if (a.n == 0 || a.n > MAX_TOKENS)
        return err_set(e, ERR_FORMAT, "the vocabulary has %llu tokens (1 to %d are supported)", (unsigned long long)a.n,
                       MAX_TOKENS);
    v->n = (uint32_t)a.n;
    size_t bytes = 0;
    for (uint32_t i = 0; i < v->n; i++)
        bytes += text_room(a.strs[i], byte_level);
    if (bytes > UINT32_MAX)
        return err_set(e, ERR_LIMIT, "the vocabulary's texts are longer than 4 GB");
    v->type = mem_alloc(v->n);
    v->held += v->n;
    if (!v->type || !strings_new(&v->text, bytes, v->n, &v->held))
        goto nomem;
    rc = load_types(v, f, e);
    if (rc)
        goto fail;
    if (byte_level) {
        texts_byte_level(v, a.strs);
    } else {
        if (!strings_new(&v->shown, bytes, v->n, &v->held))
            goto nomem;
        texts_sentencepiece(v, a.strs);
    }
    rc = index_new(v, e);
    if (rc)
        goto fail;
    index_bytes(v);
    return 0;
nomem:
    rc = err_set(e, ERR_NOMEM, "no memory for a vocabulary of %u tokens", v->n);
fail:
    vocab_done(v);
    return rc;
}

void vocab_done(struct vocab *v)
{
    mem_free(v->text.data);
    mem_free(v->text.off);
    mem_free(v->shown.data);
    mem_free(v->shown.off);
    mem_free(v->type);
    mem_free(v->slot);
    memset(v, 0, sizeof *v);
}

int32_t vocab_find(const struct vocab *v, const char *s, size_t n, unsigned types)
{
    uint32_t h = hash(s, n);
    for (uint32_t k = h & v->mask; v->slot[k].id >= 0; k = (k + 1) & v->mask) {
        if (v->slot[k].hash != h)
            continue;
        int32_t id = v->slot[k].id;
        const char *p;
        if (vocab_text(v, id, &p) == n && memcmp(p, s, n) == 0 && (types & VOCAB_BIT(v->type[id])))
            return id;
    }
    return -1;
}

size_t vocab_text(const struct vocab *v, int32_t id, const char **p)
{
    *p = v->text.data + v->text.off[id];
    return v->text.off[id + 1] - v->text.off[id];
}

size_t vocab_shown(const struct vocab *v, int32_t id, const char **p)
{
    const struct vocab_strings *s = v->shown.data ? &v->shown : &v->text;
    *p = s->data + s->off[id];
    return s->off[id + 1] - s->off[id];
}
