/* loader: see loader.h. */
#include "api/loader.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store.h"
#include <stdio.h>
#include <string.h>

struct load { /* freed by its thread */
    struct api *a;
    char *name;
    struct load_wait *waits; /* under loader.mu */
    struct load *next;
};

void loader_init(struct loader *l)
{
    pthread_mutex_init(&l->mu, NULL);
    pthread_cond_init(&l->idle, NULL);
}

void loader_done(struct loader *l)
{
    pthread_mutex_lock(&l->mu);
    while (l->n_threads > 0)
        pthread_cond_wait(&l->idle, &l->mu);
    pthread_mutex_unlock(&l->mu);
    pthread_mutex_destroy(&l->mu);
    pthread_cond_destroy(&l->idle);
}

/* A model of the command line is listed under another name than its path. */
static void known_name(struct api *a, const char *name, char *out, size_t max)
{
    pthread_mutex_lock(&a->preset_mu);
    for (size_t i = 0; i < a->n_models; i++)
        if (!strcmp(name, a->models[i].given) && a->models[i].name[0]) {
            name = a->models[i].name;
            break;
        }
    snprintf(out, max, "%s", name);
    pthread_mutex_unlock(&a->preset_mu);
}

static int unwanted(void *arg, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    struct load *ld = arg;
    pthread_mutex_lock(&ld->a->loader.mu);
    bool none = ld->waits == NULL;
    pthread_mutex_unlock(&ld->a->loader.mu);
    return none || atomic_load(&ld->a->stopping);
}

/* Takes the load off the list if it is over, with everybody who waits for it: who comes later starts a new one. */
static struct load_wait *close_load(struct load *ld, int rc)
{
    struct loader *l = &ld->a->loader;
    pthread_mutex_lock(&l->mu);
    struct load_wait *waits = ld->waits;
    if (rc == ERR_CANCELLED && waits &&
        !atomic_load(&ld->a->stopping)) { /* somebody came while it was being given up */
        pthread_mutex_unlock(&l->mu);
        return NULL;
    }
    for (struct load **at = &l->list; *at; at = &(*at)->next)
        if (*at == ld) {
            *at = ld->next;
            break;
        }
    for (struct load_wait *w = waits; w; w = w->next)
        w->load = NULL;
    ld->waits = NULL;
    pthread_mutex_unlock(&l->mu);
    return waits;
}

static void hand_out(struct load_wait *waits, struct hearth_model *m, const struct err *e)
{
    while (waits) {
        struct load_wait *w = waits;
        waits = w->next; /* w may be gone after done */
        if (m)
            hearth_model_ref(m);
        w->done(w, m, m ? NULL : e);
    }
}

static void *load_main(void *arg)
{
    struct load *ld = arg;
    struct loader *l = &ld->a->loader;
    for (bool over = false; !over;) {
        struct hearth_model *m = NULL;
        struct err e = {0};
        int rc = hearth_model_get(ld->a->h, ld->name, unwanted, ld, &m, &e);
        struct load_wait *waits = close_load(ld, rc);
        over = waits != NULL || rc != ERR_CANCELLED || unwanted(ld, 0, 0);
        hand_out(waits, rc == 0 ? m : NULL, &e);
        if (rc == 0)
            hearth_model_unref(m);
    }
    pthread_mutex_lock(&l->mu);
    mem_free(ld->name);
    mem_free(ld);
    l->n_threads--;
    pthread_cond_broadcast(&l->idle);
    pthread_mutex_unlock(&l->mu);
    return NULL;
}

static int begin_load(struct api *a, const char *name, struct load_wait *w) /* under loader.mu */
{
    struct load *ld = mem_calloc(1, sizeof *ld);
    char *copy = mem_strdup(name);
    pthread_t t;
    pthread_attr_t detached;
    if (ld && copy) {
        *ld = (struct load){.a = a, .name = copy, .waits = w, .next = a->loader.list};
        w->load = ld;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        int rc = pthread_create(&t, &detached, load_main, ld);
        pthread_attr_destroy(&detached);
        if (rc == 0) {
            a->loader.list = ld;
            a->loader.n_threads++;
            return 0;
        }
    }
    w->load = NULL;
    mem_free(ld);
    mem_free(copy);
    return ERR_NOMEM;
}

void loader_wait(struct api *a, const char *name, struct load_wait *w)
{
    struct hearth_model *m = NULL;
    struct err e = {0};
    struct loader *l = &a->loader;
    char known[512];
    known_name(a, name, known, sizeof known);
    if (hearth_model_try(a->h, known, &m)) {
        w->done(w, m, NULL);
        return;
    }
    pthread_mutex_lock(&l->mu);
    struct load *ld = l->list;
    while (ld && strcmp(ld->name, name) != 0)
        ld = ld->next;
    int rc = 0;
    if (atomic_load(&a->stopping)) {
        rc = err_set(&e, ERR_CANCELLED, "Hearth is stopping");
    } else if (ld) {
        struct load_wait **end = &ld->waits;
        while (*end)
            end = &(*end)->next;
        w->next = NULL;
        *end = w;
        w->load = ld;
    } else if ((rc = begin_load(a, name, w)) != 0) {
        err_set(&e, rc, "no memory to load %s", name);
    }
    pthread_mutex_unlock(&l->mu);
    if (rc)
        w->done(w, NULL, &e);
}

void loader_progress(struct api *a, const struct load_wait *w, char *out, size_t max)
{
    struct hearth_model_status m[64];
    char given[512] = "", name[512];
    pthread_mutex_lock(&a->loader.mu);
    if (w->load)
        snprintf(given, sizeof given, "%s", w->load->name);
    pthread_mutex_unlock(&a->loader.mu);
    out[0] = 0;
    if (!given[0])
        return;
    known_name(a, given, name, sizeof name);
    size_t n = hearth_models(a->h, m, 64);
    for (size_t i = 0; i < n && i < 64; i++)
        if (!strcmp(m[i].name, name) && m[i].waiting)
            snprintf(out, max, "%.90s waits for memory", name);
        else if (!strcmp(m[i].name, name))
            snprintf(out, max, "loading %.90s, %d %%", name, (int)(m[i].progress * 100));
}

bool loader_abandon(struct api *a, struct load_wait *w)
{
    bool waited = false;
    pthread_mutex_lock(&a->loader.mu);
    if (w->load)
        for (struct load_wait **at = &w->load->waits; *at; at = &(*at)->next)
            if (*at == w) {
                *at = w->next;
                w->load = NULL;
                waited = true;
                break;
            }
    pthread_mutex_unlock(&a->loader.mu);
    return waited;
}

static bool latest_resident(struct api *a, char *out, size_t max)
{
    struct hearth_model_status m[64];
    size_t n = hearth_models(a->h, m, 64), best = SIZE_MAX;
    for (size_t i = 0; i < n && i < 64; i++)
        if (best == SIZE_MAX || m[i].last_used > m[best].last_used)
            best = i;
    if (best == SIZE_MAX)
        return false;
    snprintf(out, max, "%s", m[best].name);
    return true;
}

static bool newest_installed(struct api *a, char *out, size_t max)
{
    struct store_model *list = NULL;
    size_t n = 0;
    if (store_list(hearth_store(a->h), false, &list, &n, NULL) != 0 || n == 0) {
        mem_free(list);
        return false;
    }
    snprintf(out, max, "%s", list[0].name);
    mem_free(list);
    return true;
}

bool loader_default(struct api *a, char *out, size_t max)
{
    if (a->n_models) {
        pthread_mutex_lock(&a->preset_mu);
        snprintf(out, max, "%s", a->models[0].name[0] ? a->models[0].name : a->models[0].given);
        pthread_mutex_unlock(&a->preset_mu);
        return true;
    }
    return latest_resident(a, out, max) || newest_installed(a, out, max);
}

static bool preset_named(struct api *a, const char *name, char *out, size_t max)
{
    bool found = false;
    pthread_mutex_lock(&a->preset_mu);
    for (size_t i = 0; i < a->n_models && !found; i++)
        if (!strcmp(name, a->models[i].given) || !strcmp(name, a->models[i].name)) {
            snprintf(out, max, "%s", a->models[i].given);
            found = true;
        }
    pthread_mutex_unlock(&a->preset_mu);
    return found;
}

int loader_resolve(struct api *a, const char *name, char *out, size_t max, struct problem *p)
{
    char chosen[512];
    if (!name || !name[0] || !strcmp(name, "default")) {
        if (!loader_default(a, chosen, sizeof chosen))
            return reply_problem_set(p, 404, "model_not_found", "model",
                                     "no model is installed: run `hearth pull smollm2:135m` first");
        name = chosen;
    }
    if (preset_named(a, name, out, max))
        return 0;
    struct hearth_model_status m[64];
    size_t n = hearth_models(a->h, m, 64);
    for (size_t i = 0; i < n && i < 64; i++)
        if (!strcmp(m[i].name, name)) {
            snprintf(out, max, "%s", name);
            return 0;
        }
    struct store_model s;
    struct err e = {0};
    int rc = strchr(name, '/') == name ? err_set(&e, ERR_NOTFOUND, "the model \"%.200s\" is not installed", name)
                                       : store_find(hearth_store(a->h), name, &s, &e);
    if (rc == ERR_NOTFOUND || rc == ERR_USAGE || rc == ERR_RANGE ||
        rc == ERR_LIMIT) /* what cannot be a name is no model either */
        return reply_problem_set(p, 404, "model_not_found", "model", "%s", e.msg);
    if (rc)
        return reply_problem_from(p, &e, "model");
    if (!s.installed)
        return reply_problem_set(p, 404, "model_not_found", "model",
                                 "the model %s is known but not installed: run `hearth pull %s`", s.name, s.name);
    snprintf(out, max, "%s", s.name);
    return 0;
}

struct preload { /* waits for a model of the command line */
    struct load_wait wait;
    struct api *a;
    size_t i;
};

static void preloaded(struct load_wait *w, struct hearth_model *m, const struct err *e)
{
    struct preload *q = (struct preload *)(void *)((char *)w - offsetof(struct preload, wait));
    struct preset *s = &q->a->models[q->i];
    if (m) {
        pthread_mutex_lock(&q->a->preset_mu);
        snprintf(s->name, sizeof s->name, "%s", hearth_model_name(m));
        pthread_mutex_unlock(&q->a->preset_mu);
        hearth_model_unref(m);
    } else if (e->code != ERR_CANCELLED) {
        log_line(LOG_WARNING, "cannot load %s: %s", s->given, e->msg);
    }
    mem_free(q);
}

/* What a path will be called once it is loaded: the file's name. Requests may use it while the load runs. */
static void guess_name(struct preset *s)
{
    const char *slash = strrchr(s->given, '/');
    size_t n = strlen(s->given);
    if (!slash && !(n > 5 && !strcmp(s->given + n - 5, ".gguf")))
        return;
    snprintf(s->name, sizeof s->name, "%s", slash ? slash + 1 : s->given);
    n = strlen(s->name);
    if (n > 5 && !strcmp(s->name + n - 5, ".gguf"))
        s->name[n - 5] = 0;
}

void loader_name_presets(struct api *a)
{
    for (size_t i = 0; i < a->n_models; i++)
        guess_name(&a->models[i]);
}

void loader_preload(struct api *a)
{
    for (size_t i = 0; i < a->n_models; i++) {
        struct preload *q = mem_calloc(1, sizeof *q);
        if (!q)
            return;
        *q = (struct preload){.wait = {.done = preloaded}, .a = a, .i = i};
        loader_wait(a, a->models[i].given, &q->wait);
    }
}
