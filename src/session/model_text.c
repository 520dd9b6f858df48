/* model_text: the strings' half of a resident model: tokeniser, chat template, what ends a generation. Built once per load. */
#include "base/mem.h"
#include "session/state.h"
#include <malloc.h>
#include <stdio.h>

static int piece_copy(const struct tokenizer *t, int32_t id, char **out, struct err *e)
{
    const char *p = "";
    size_t n = id >= 0 ? tokenizer_piece(t, id, true, &p) : 0;
    *out = mem_strndup(p, n);
    return *out ? 0 : err_set(e, ERR_NOMEM, "no memory for the tokeniser");
}

static int find_stops(struct hearth_model *m, struct err *e)
{
    size_t cap = 0, n_vocab = tokenizer_vocab(m->tok);
    for (size_t i = 0; i < n_vocab; i++) {
        if (!tokenizer_is_eog(m->tok, (int32_t)i))
            continue;
        int32_t *ids = mem_grow(m->stop_id, &cap, (size_t)m->n_stop_id + 1, sizeof *ids);
        if (!ids)
            return err_set(e, ERR_NOMEM, "no memory for the tokeniser");
        m->stop_id = ids;
        m->stop_id[m->n_stop_id++] = (int32_t)i;
    }
    return 0;
}

/* A template that is not understood does not stop the model from completing text: the reason is kept for who asks to chat. */
static void read_template(struct hearth_model *m, const struct model_file *f)
{
    struct file_str src;
    if (file_get_str(f, "tokenizer.chat_template", &src, NULL) < 0) {
        err_set(&m->tmpl_err, ERR_UNSUPPORTED, "%s has no chat template: it is a base model; use completions, or --raw",
                m->name);
        return;
    }
    if (chat_template_new(&m->tmpl, src.p, src.n, &m->tmpl_err) < 0)
        err_prefix(&m->tmpl_err, ERR_UNSUPPORTED, "%s has a chat template that is not understood", m->name);
}

/* Its size shows only when it is built: twice the header is reserved for that, more than any of them took. */
static int build_tokenizer(struct hearth_model *m, const struct model_file *f, struct err *e)
{
    size_t guess = 2 * f->header_bytes;
    int rc = ledger_reserve(m->text, guess, e);
    if (rc < 0)
        return rc;
    rc = tokenizer_new(&m->tok, f, e);
    ledger_release(m->text, guess);
    if (rc < 0)
        return rc;
    m->text_bytes = tokenizer_bytes(m->tok);
    return ledger_reserve(m->text, m->text_bytes, e);
}

int model_text_build(struct hearth_model *m, const struct model_file *f, struct err *e)
{
    char path[120];
    snprintf(path, sizeof path, "model/%s/text", m->name);
    int rc = ledger_owner_new(m->h->ledger, path, &m->text, e);
    if (rc == 0)
        rc = build_tokenizer(m, f, e);
    if (rc == 0)
        rc = piece_copy(m->tok, tokenizer_bos(m->tok), &m->bos, e);
    if (rc == 0)
        rc = piece_copy(m->tok, tokenizer_eos(m->tok), &m->eos, e);
    if (rc == 0)
        rc = find_stops(m, e);
    if (rc == 0)
        read_template(m, f);
    return rc;
}

void model_text_free(struct hearth_model *m)
{
    chat_template_free(m->tmpl);
    tokenizer_free(m->tok);
    mem_free(m->bos);
    mem_free(m->eos);
    mem_free(m->stop_id);
    if (m->tok)
        malloc_trim(0); /* some hundred thousand small blocks: their pages go back before the ledger hears of it */
    ledger_owner_free(m->text);
    m->tmpl = NULL;
    m->tok = NULL;
    m->bos = m->eos = NULL;
    m->stop_id = NULL;
    m->n_stop_id = 0;
    m->text = NULL;
}
