/* jinja_run: statements, scopes, macros.
 *
 * Scopes as Jinja2 has them: "set" inside a loop, macro, call, filter or set block is gone at its end; "if" opens none. A
 * macro sees the scope it was defined in, as that is when the macro is called. */
#include "base/mem.h"
#include "text/jinja.h"
#include <string.h>

enum signal { GO_ON, BREAK, CONTINUE };

static enum signal run_body(struct jinja *j, const struct jn *n);

/* In the arena, because a macro defined inside may outlive the block. */
static struct jinja_scope *scope_new(struct jinja *j, struct jinja_scope *parent)
{
    struct jinja_scope *s = jinja_alloc(j, sizeof *s);
    if (s) {
        s->parent = parent;
        j->scope = s;
    }
    return s;
}

struct jv *jinja_lookup(struct jinja *j, const char *name)
{
    for (struct jinja_scope *s = j->scope; s; s = s->parent)
        for (size_t i = s->n; i-- > 0;)
            if (s->v[i].name == name)
                return &s->v[i].v;
    return NULL;
}

void jinja_assign(struct jinja *j, const char *name, struct jv v)
{
    struct jinja_scope *s = j->scope;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].name == name) {
            s->v[i].v = v;
            return;
        }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 4;
        struct jinja_var *p = jinja_alloc(j, cap * sizeof *p);
        if (!p)
            return;
        if (s->n)
            memcpy(p, s->v, s->n * sizeof *p);
        s->v = p;
        s->cap = cap;
    }
    s->v[s->n++] = (struct jinja_var){name, v};
}

struct jv jinja_func(struct jinja *j, const char *name, jinja_fn fn, struct jv self)
{
    struct jv_func *f = jinja_alloc(j, sizeof *f);
    if (!f)
        return jv_undef(NULL);
    *f = (struct jv_func){.name = name, .fn = fn, .self = self};
    return (struct jv){JV_FUNC, {.fn = f}};
}

static void assign_target(struct jinja *j, const struct jn *target, struct jv v)
{
    if (j->rc)
        return;
    if (target->kind == JN_NAME) {
        jinja_assign(j, target->name, v);
        return;
    }
    if (target->kind == JN_ATTR) {
        struct jv ns = jinja_eval(j, target->a);
        if (j->rc)
            return;
        if (ns.type != JV_NS)
            jinja_fail(j, ERR_RANGE, "cannot assign attribute on non-namespace object");
        else
            jv_dict_set(j, ns, jv_cstr(j, target->name), v);
        return;
    }
    struct jv_list *l = jv_iterate(j, v);
    size_t i = 0;
    const struct jn *t = target->a;
    for (; l && t && i < l->n; t = t->next, i++)
        assign_target(j, t, l->v[i]);
    if (l && !j->rc && (t || i < l->n))
        jinja_fail(j, ERR_RANGE, "cannot unpack %zu values into the loop's or set's names", l->n);
}

/* ---- captured output ---- */

static struct jv capture(struct jinja *j, const struct jn *body, struct jinja_scope *parent)
{
    struct jinja_out o = {0}, *outer = j->out;
    struct jinja_scope *was = j->scope;
    struct jv v = jv_undef(NULL);
    if (scope_new(j, parent)) {
        j->out = &o;
        run_body(j, body);
    }
    v = jinja_out_take(j, &o);
    j->out = outer;
    j->scope = was;
    return v;
}

/* ---- macros ---- */

static const struct jv *keyword(const struct jinja_args *a, const char *name)
{
    for (int i = 0; i < a->n_kw; i++)
        if (!strcmp(a->kw[i].name, name))
            return &a->kw[i].v;
    return NULL;
}

static bool has_param(const struct jn *params, const char *name)
{
    for (const struct jn *p = params; p; p = p->next)
        if (!strcmp(p->name, name))
            return true;
    return false;
}

/* Binds the parameters in the macro's own scope; what is left over becomes varargs and kwargs. */
static void bind(struct jinja *j, const struct jn *params, const struct jinja_args *a)
{
    int i = 0;
    for (const struct jn *p = params; p && !j->rc; p = p->next, i++) {
        const struct jv *kw = keyword(a, p->name);
        if (i < a->n)
            jinja_assign(j, p->name, a->v[i]);
        else if (kw)
            jinja_assign(j, p->name, *kw);
        else if (p->a)
            jinja_assign(j, p->name, jinja_eval(j, p->a));
        else
            jinja_assign(j, p->name, jv_undef(p->name));
    }
    struct jv rest = jv_list_new(j, JV_TUPLE), named = jv_dict_new(j, JV_DICT), caller = jv_undef("caller");
    for (; i < a->n && !j->rc; i++)
        jv_list_add(j, rest, a->v[i]);
    for (i = 0; i < a->n_kw && !j->rc; i++) {
        if (!strcmp(a->kw[i].name, "caller"))
            caller = a->kw[i].v;
        else if (!has_param(params, a->kw[i].name))
            jv_dict_set(j, named, jv_cstr(j, a->kw[i].name), a->kw[i].v);
    }
    const struct jinja_var extra[] = {
        {j->program->varargs, rest}, {j->program->kwargs, named}, {j->program->caller, caller}};
    for (int k = 0; k < 3 && !j->rc; k++)
        if (!has_param(params, extra[k].name))
            jinja_assign(j, extra[k].name, extra[k].v);
}

struct jv jinja_macro(struct jinja *j, const struct jv_func *f, const struct jinja_args *a)
{
    if (++j->depth > JINJA_MAX_DEPTH)
        jinja_fail(j, ERR_LIMIT, "macros nested deeper than %d", JINJA_MAX_DEPTH);
    struct jinja_out o = {0}, *outer = j->out;
    struct jinja_scope *was = j->scope;
    if (!j->rc && scope_new(j, f->scope)) {
        bind(j, f->macro->kind == JN_MACRO ? f->macro->a : f->macro->b, a);
        j->out = &o;
        if (!j->rc)
            run_body(j, f->macro->c);
    }
    struct jv v = jinja_out_take(j, &o);
    j->out = outer;
    j->scope = was;
    j->depth--;
    return v;
}

static struct jv macro_value(struct jinja *j, const struct jn *n)
{
    struct jv v = jinja_func(j, n->name, NULL, jv_none());
    if (!j->rc) {
        v.u.fn->macro = n;
        v.u.fn->scope = j->scope;
    }
    return v;
}

static void run_call_block(struct jinja *j, const struct jn *n)
{
    struct jv fn = jinja_eval(j, n->a->a), body = macro_value(j, n);
    struct jn kw = {.kind = JN_KW, .line = n->line, .name = "caller"},
              val = {.kind = JN_CONST, .line = n->line, .value = body};
    kw.a = &val;
    /* the arguments as written, and the body as caller= */
    struct jinja_args a;
    if (j->rc || !jinja_eval_args(j, n->a->b, &kw, &a))
        return;
    struct jv v = jinja_call(j, fn, &a);
    jv_print(j, j->out, v);
}

/* ---- statements ---- */

/* Elements that pass the loop's "if". */
static struct jv_list *filtered(struct jinja *j, const struct jn *n, struct jv_list *all)
{
    struct jv kept = jv_list_new(j, JV_LIST);
    struct jinja_scope *was = j->scope;
    for (size_t i = 0; !j->rc && i < all->n; i++) {
        if (!scope_new(j, was))
            break;
        assign_target(j, n->a, all->v[i]);
        if (jv_truth(jinja_eval(j, n->test)))
            jv_list_add(j, kept, all->v[i]);
        j->scope = was;
    }
    j->scope = was;
    return j->rc ? NULL : kept.u.l;
}

static enum signal run_for(struct jinja *j, const struct jn *n)
{
    struct jv over = jinja_eval(j, n->b);
    struct jv_list *items = j->rc ? NULL : jv_iterate(j, over);
    if (items && n->test)
        items = filtered(j, n, items);
    if (!items)
        return GO_ON;
    struct jinja_scope *was = j->scope;
    if (!items->n) {
        if (scope_new(j, was))
            run_body(j, n->d);
        j->scope = was;
        return GO_ON;
    }
    struct jinja_loop *loop = jinja_alloc(j, sizeof *loop);
    if (!loop)
        return GO_ON;
    *loop = (struct jinja_loop){.items = items};
    for (; loop->i < items->n && !j->rc; loop->i++) {
        if (!scope_new(j, was))
            break;
        jinja_assign(j, j->program->loop, (struct jv){JV_LOOP, {.loop = loop}});
        assign_target(j, n->a, items->v[loop->i]);
        if (run_body(j, n->c) == BREAK)
            break;
    }
    j->scope = was;
    return GO_ON;
}

static enum signal run_if(struct jinja *j, const struct jn *n)
{
    bool yes = jv_truth(jinja_eval(j, n->a));
    if (j->rc)
        return GO_ON;
    return run_body(j, yes ? n->b : n->c);
}

static void run_with(struct jinja *j, const struct jn *n)
{
    struct jv values = jv_list_new(j, JV_LIST);
    struct jinja_scope *was = j->scope;
    size_t i = 0;
    for (const struct jn *s = n->a; s && !j->rc; s = s->next)
        jv_list_add(j, values, jinja_eval(j, s->b));
    if (!j->rc && scope_new(j, was)) {
        for (const struct jn *s = n->a; s && !j->rc; s = s->next)
            assign_target(j, s->a, values.u.l->v[i++]);
        run_body(j, n->c);
    }
    j->scope = was;
}

static enum signal run_scope(struct jinja *j, const struct jn *n)
{
    struct jinja_scope *was = j->scope;
    enum signal s = scope_new(j, was) ? run_body(j, n->c) : GO_ON;
    j->scope = was;
    return s;
}

static enum signal run_one(struct jinja *j, const struct jn *n)
{
    struct jv v;
    switch (n->kind) {
    case JN_TEXT:
        jv_print(j, j->out, n->value);
        break;
    case JN_PRINT:
        v = jinja_eval(j, n->a);
        jv_print(j, j->out, v);
        break;
    case JN_FOR:
        return run_for(j, n);
    case JN_IF:
        return run_if(j, n);
    case JN_SET:
        v = jinja_eval(j, n->b);
        assign_target(j, n->a, v);
        break;
    case JN_SETBLOCK:
        v = capture(j, n->c, j->scope);
        v = jinja_filter_chain(j, n->b, v);
        assign_target(j, n->a, v);
        break;
    case JN_MACRO:
        jinja_assign(j, n->name, macro_value(j, n));
        break;
    case JN_CALLBLOCK:
        run_call_block(j, n);
        break;
    case JN_FILTERBLOCK:
        v = capture(j, n->c, j->scope);
        v = jinja_filter_chain(j, n->b, v);
        jv_print(j, j->out, v);
        break;
    case JN_SCOPE:
        return run_scope(j, n);
    case JN_WITH:
        run_with(j, n);
        break;
    case JN_BREAK:
        return BREAK;
    case JN_CONTINUE:
        return CONTINUE;
    default:
        jinja_fail(j, ERR_FORMAT, "not a statement");
    }
    return GO_ON;
}

static enum signal run_body(struct jinja *j, const struct jn *n)
{
    enum signal s = GO_ON;
    if (++j->depth > JINJA_MAX_DEPTH)
        jinja_fail(j, ERR_LIMIT, "blocks nested deeper than %d", JINJA_MAX_DEPTH);
    for (; n && s == GO_ON && !j->rc; n = n->next) {
        j->line = n->line;
        if (jinja_charge(j, 1))
            s = run_one(j, n);
    }
    j->depth--;
    return s;
}

void jinja_run(struct jinja *j, const struct jinja_program *p)
{
    j->program = p;
    if (!scope_new(j, NULL))
        return;
    run_body(j, p->body);
}
