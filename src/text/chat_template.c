/* chat_template: the door to the template engine. Says which of the caller's data counts as the template's own: only
 * bos_token and eos_token, and the names of roles (templates paste them between the halves of a special token). */
#include "base/mem.h"
#include "text/jinja.h"
#include "text/text.h"
#include <cjson/cJSON.h>
#include <string.h>

struct chat_template {
    struct jinja_program program;
};

int chat_template_new(struct chat_template **out, const char *src, size_t n, struct err *e)
{
    *out = NULL;
    struct chat_template *t = mem_calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "no memory for a template");
    arena_init(&t->program.arena);
    int rc = jinja_parse(&t->program, src, n, e);
    if (rc) {
        chat_template_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void chat_template_free(struct chat_template *t)
{
    if (!t)
        return;
    arena_done(&t->program.arena);
    mem_free(t);
}

static bool in_list(const char *s, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(s, list[i]))
            return true;
    return false;
}

/* Only words that every format knows: harmless wherever they stand. */
static void trust_role(struct jinja *j, struct jv message)
{
    static const char *const roles[] = {"system",    "user",     "assistant", "tool",
                                        "developer", "function", "model",     "ipython"};
    const struct jv *role = message.type == JV_DICT ? jv_dict_gets(message, "role", 4) : NULL;
    for (size_t i = 0; role && role->type == JV_STR && i < sizeof roles / sizeof *roles; i++)
        if (strlen(roles[i]) == role->u.s->n && !memcmp(roles[i], role->u.s->p, role->u.s->n)) {
            jv_dict_set(j, message, jv_cstr(j, "role"), jv_cstr(j, roles[i]));
            return;
        }
}

static struct jv context(struct jinja *j, const cJSON *ctx)
{
    static const char *const own[] = {"bos_token", "eos_token"};
    struct jv d = jv_dict_new(j, JV_DICT);
    for (const cJSON *i = ctx ? ctx->child : NULL; i && !j->rc; i = i->next) {
        if (!i->string)
            continue;
        bool trusted = in_list(i->string, own, sizeof own / sizeof *own);
        jv_dict_set(j, d, jv_cstr(j, i->string), jv_from_json(j, i, trusted, 0));
    }
    const struct jv *messages = j->rc ? NULL : jv_dict_gets(d, "messages", 8);
    for (size_t i = 0; messages && messages->type == JV_LIST && i < messages->u.l->n; i++)
        trust_role(j, messages->u.l->v[i]);
    return d;
}

int chat_template_render(const struct chat_template *t, const struct cJSON *ctx, struct buf *out, uint8_t **trusted,
                         struct err *e)
{
    struct jinja j = {.e = e};
    struct jinja_out o = {0};
    *trusted = NULL;
    arena_init(&j.arena);
    j.out = &o;
    j.globals = context(&j, ctx);
    if (!j.rc)
        jinja_run(&j, &t->program);
    if (!j.rc) {
        buf_add(out, o.text.data ? o.text.data : "", o.text.len);
        *trusted = (uint8_t *)buf_take(&o.trust);
        if (out->failed || !*trusted) {
            mem_free(*trusted);
            *trusted = NULL;
            j.rc = err_set(e, ERR_NOMEM, "no memory for the rendered template");
        }
    }
    jinja_out_done(&o);
    arena_done(&j.arena);
    return j.rc;
}
