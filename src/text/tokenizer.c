/* tokenizer: one model's way from text to ids. Added tokens are cut out first; the rest is normalised, split into words
 * and merged. What differs between models is in split (pre-tokenisers) and bpe (ranks or scores). */
#include "base/mem.h"
#include "text/bpe.h"
#include "text/special.h"
#include "text/split.h"
#include "text/text.h"
#include "text/utf8.h"
#include "text/vocab.h"
#include <string.h>

struct tokenizer {
    struct vocab vocab;
    struct special special;
    struct bpe bpe;
    const struct split_rule *rule; /* NULL: SentencePiece */
    bool space_prefix;             /* SentencePiece: a text begins with a space */
    bool add_bos, add_eos;
    int32_t bos, eos;
    uint8_t *eog; /* [vocab] ends a generation */
};

void token_list_done(struct token_list *l)
{
    if (!l)
        return;
    mem_free(l->id);
    memset(l, 0, sizeof *l);
}

/* ---- construction ---- */

static int optional_bool(const struct model_file *f, const char *key, bool *out, struct err *e)
{
    return file_kv_find(f, key) ? file_get_bool(f, key, out, e) : 0;
}

static int optional_id(const struct tokenizer *t, const struct model_file *f, const char *key, int32_t *out,
                       struct err *e)
{
    uint32_t id;
    *out = -1;
    if (!file_kv_find(f, key))
        return 0;
    int rc = file_get_u32(f, key, &id, e);
    if (rc)
        return rc;
    if (id < t->vocab.n)
        *out = (int32_t)id;
    else if (id != UINT32_MAX)
        return err_set(e, ERR_FORMAT, "%s is %u, but there are %u tokens", key, id, t->vocab.n);
    return 0;
}

/* Names under which models close a turn or a text, whether or not the file points at them. */
static const char *const eog_names[] = {
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
    "<|end|>",
    "<|eot|>",
    "<EOT>",
    "<|EOT|>",
    "_<EOT>",
    "<|return|>",
    "<|call|>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
};

static int load_ends(struct tokenizer *t, const struct model_file *f, struct err *e)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    t->eog = mem_calloc(t->vocab.n, 1);
    if (!t->eog)
        return err_set(e, ERR_NOMEM, "no memory for %u tokens", t->vocab.n);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t id;
        int rc = optional_id(t, f, keys[i], &id, e);
        if (rc)
            return rc;
        if (i == 0)
            t->eos = id;
        if (id >= 0)
            t->eog[id] = 1;
    }
    for (size_t i = 0; i < sizeof eog_names / sizeof *eog_names; i++) {
        int32_t id = vocab_find(&t->vocab, eog_names[i], strlen(eog_names[i]), VOCAB_BIT(VOCAB_CONTROL));
        if (id >= 0)
            t->eog[id] = 1;
    }
    return optional_id(t, f, "tokenizer.ggml.bos_token_id", &t->bos, e);
}

static int load_rule(struct tokenizer *t, const struct model_file *f, struct err *e)
{
    struct file_str pre = {"default", 7};
    if (file_kv_find(f, "tokenizer.ggml.pre")) {
        int rc = file_get_str(f, "tokenizer.ggml.pre", &pre, e);
        if (rc)
            return rc;
    }
    t->rule = split_find(pre.p, pre.n);
    if (t->rule)
        return 0;
    return err_set(e, ERR_UNSUPPORTED, "the pre-tokenizer \"%.*s\" is not supported", pre.n > 100 ? 100 : (int)pre.n,
                   pre.p);
}

static int load(struct tokenizer *t, const struct model_file *f, struct err *e)
{
    struct file_str model;
    int rc = file_get_str(f, "tokenizer.ggml.model", &model, e);
    if (rc)
        return rc;
    bool byte_level = model.n == 4 && memcmp(model.p, "gpt2", 4) == 0;
    bool sentencepiece = model.n == 5 && memcmp(model.p, "llama", 5) == 0;
    if (!byte_level && !sentencepiece)
        return err_set(
            e, ERR_UNSUPPORTED,
            "the tokenizer \"%.*s\" is not supported (byte-level BPE \"gpt2\" and SentencePiece \"llama\" are)",
            model.n > 100 ? 100 : (int)model.n, model.p);
    if (byte_level && (rc = load_rule(t, f, e)))
        return rc;
    if ((rc = vocab_load(&t->vocab, f, byte_level, e)))
        return rc;
    if ((rc = special_load(&t->special, &t->vocab, e)))
        return rc;
    if ((rc = bpe_load(&t->bpe, &t->vocab, f, e)))
        return rc;
    t->bpe.whole_words = byte_level && (split_flags(t->rule) & SPLIT_WHOLE_WORDS);
    if ((rc = load_ends(t, f, e)))
        return rc;
    /* what the formats' own tools assume when a file does not say */
    t->space_prefix = sentencepiece;
    t->add_bos = sentencepiece || (split_flags(t->rule) & SPLIT_BOS);
    if ((rc = optional_bool(f, "tokenizer.ggml.add_space_prefix", &t->space_prefix, e)))
        return rc;
    if ((rc = optional_bool(f, "tokenizer.ggml.add_bos_token", &t->add_bos, e)))
        return rc;
    return optional_bool(f, "tokenizer.ggml.add_eos_token", &t->add_eos, e);
}

int tokenizer_new(struct tokenizer **out, const struct model_file *f, struct err *e)
{
    *out = NULL;
    struct tokenizer *t = mem_calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "no memory for a tokenizer");
    t->bos = t->eos = -1;
    int rc = load(t, f, e);
    if (rc) {
        tokenizer_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_done(&t->bpe);
    special_done(&t->special);
    vocab_done(&t->vocab);
    mem_free(t->eog);
    mem_free(t);
}

size_t tokenizer_bytes(const struct tokenizer *t)
{
    return sizeof *t + t->vocab.n + t->vocab.held + t->special.held + t->bpe.held;
}

size_t tokenizer_vocab(const struct tokenizer *t)
{
    return t->vocab.n;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

static bool valid(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->vocab.n;
}

bool tokenizer_is_eog(const struct tokenizer *t, int32_t id)
{
    return valid(t, id) && t->eog[id];
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return valid(t, id) && (t->vocab.type[id] == VOCAB_CONTROL || t->vocab.type[id] == VOCAB_UNKNOWN);
}

bool tokenizer_drops_space(const struct tokenizer *t)
{
    return !t->rule && t->space_prefix;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n)
{
    return vocab_find(&t->vocab, piece, n, ~0u);
}

size_t tokenizer_piece(const struct tokenizer *t, int32_t id, bool special, const char **p)
{
    *p = "";
    if (!valid(t, id) || (!special && tokenizer_is_special(t, id)))
        return 0;
    return vocab_shown(&t->vocab, id, p);
}

/* ---- encoding ---- */

struct encoder { /* one call */
    const struct tokenizer *t;
    struct bpe_work work;
    struct buf norm;
    struct token_list *out;
    struct err *e;
};

static bool is_ascii(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0x80)
            return false;
    return true;
}

static int encode_words(struct encoder *c, const char *s, size_t n)
{
    const struct split_rule *rule = c->t->rule;
    if ((split_flags(rule) & SPLIT_NFC) && !is_ascii(s, n)) {
        buf_reset(&c->norm);
        utf8_nfc(s, n, &c->norm);
        if (c->norm.failed)
            return err_set(c->e, ERR_NOMEM, "no memory to normalise %zu bytes", n);
        s = c->norm.data;
        n = c->norm.len;
    }
    struct split p;
    split_init(&p, rule, s, n);
    int rc = 0;
    for (size_t a, b; !rc && split_next(&p, &a, &b);)
        rc = bpe_word(&c->t->bpe, &c->work, s + a, b - a, c->out, c->e);
    return rc;
}

/* Spaces become U+2581; text after an added token begins anew, prefix included. Where no piece has one after another character, no merge crosses the border before a run of them. */
static int encode_pieces(struct encoder *c, const char *s, size_t n)
{
    static const char space[] = "\xE2\x96\x81";
    struct buf *b = &c->norm;
    buf_reset(b);
    if (c->t->space_prefix)
        buf_add(b, space, 3);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i; j < n && s[j] != ' ';)
            j++;
        buf_add(b, s + i, j - i);
        for (; j < n && s[j] == ' '; j++)
            buf_add(b, space, 3);
    }
    if (b->failed)
        return err_set(c->e, ERR_NOMEM, "no memory to normalise %zu bytes", n);
    int rc = 0;
    for (size_t i = 0, j; !rc && i < b->len; i = j) {
        bool other = false;
        for (j = i; j < b->len; j++) {
            bool is_space = b->len - j >= 3 && memcmp(b->data + j, space, 3) == 0;
            if (is_space && other && c->t->bpe.space_starts)
                break;
            other = !is_space;
            j += is_space ? 2 : 0;
        }
        rc = bpe_word(&c->t->bpe, &c->work, b->data + i, j - i, c->out, c->e);
    }
    return rc;
}

static int encode_text(struct encoder *c, const char *s, size_t n)
{
    if (n == 0)
        return 0;
    return c->t->rule ? encode_words(c, s, n) : encode_pieces(c, s, n);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, const uint8_t *trusted, unsigned flags,
                     struct token_list *out, struct err *e)
{
    struct encoder c = {.t = t, .out = out, .e = e};
    struct special_text st = {text, n, trusted, (flags & TOK_PARSE_SPECIAL) != 0};
    size_t had = out->n, pos = 0, begin, end;
    int32_t id;
    int rc = 0;
    if ((flags & TOK_ADD_SPECIAL) && t->add_bos && t->bos >= 0)
        rc = bpe_emit(out, t->bos, e);
    while (!rc && special_next(&t->special, &st, pos, &begin, &end, &id)) {
        rc = encode_text(&c, text + pos, begin - pos);
        if (!rc)
            rc = bpe_emit(out, id, e);
        pos = end;
    }
    if (!rc)
        rc = encode_text(&c, text + pos, n - pos);
    if (!rc && (flags & TOK_ADD_SPECIAL) && t->add_eos && t->eos >= 0)
        rc = bpe_emit(out, t->eos, e);
    if (rc)
        out->n = had;
    bpe_work_done(&c.work);
    buf_done(&c.norm);
    return rc;
}
