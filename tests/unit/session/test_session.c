/* The public API on tiny models: text that streams, stops, repeats; models that are shared, evicted, unloaded.
 * Arguments: three tiny model files, the first with a chat template. */
#include "base/clock.h"
#include "base/mem.h"
#include "hearth.h"
#include "ledger/ledger.h"
#include "unit/check.h"
#include "unit/folder.h"
#include <pthread.h>
#include <time.h>
#include <unistd.h>

static const char *path[3];
static const char *dir;
static const char chat[] = "[{\"role\":\"user\",\"content\":\"Hello there\"}]";

static struct hearth *open_with(size_t ceiling)
{
    struct hearth *h = NULL;
    struct err e = {0};
    struct hearth_opts o = {.data_dir = dir, .ceiling = ceiling, .threads = 1, .load_timeout_s = 1};
    if (hearth_open(&h, &o, &e) < 0) {
        fprintf(stderr, "hearth_open: %s\n", e.msg);
        exit(1);
    }
    return h;
}

static struct hearth_model *get(struct hearth *h, const char *name)
{
    struct hearth_model *m = NULL;
    struct err e = {0};
    if (hearth_model_get(h, name, NULL, NULL, &m, &e) < 0)
        fprintf(stderr, "hearth_model_get: %s\n", e.msg);
    return m;
}

struct answer { /* of one choice */
    char text[65536];
    size_t len, n_tokens, n_logprob, piece_bytes;
    char finish[16];
    struct hearth_usage usage;
    int failed;
};

static void collect(struct hearth_gen *g, struct answer *a, int n)
{
    struct hearth_delta d;
    memset(a, 0, sizeof *a * (size_t)n);
    while (hearth_next(g, &d, -1) == 1) {
        struct answer *c = &a[d.choice];
        if (d.type == HEARTH_TEXT) {
            CHECK(c->len + d.text_len < sizeof c->text);
            memcpy(c->text + c->len, d.text, d.text_len);
            c->len += d.text_len;
            c->n_tokens += d.n_tokens;
            for (size_t i = 0; d.logprobs && i < d.n_tokens; i++) {
                c->n_logprob++;
                c->piece_bytes += d.logprobs[i].n_bytes;
                CHECK(d.logprobs[i].logprob <= 0 && d.n_top[i] == 2 && d.top[i][0].logprob >= d.logprobs[i].logprob);
            }
        } else if (d.type == HEARTH_DONE) {
            snprintf(c->finish, sizeof c->finish, "%s", d.finish);
            c->usage = d.usage;
        } else {
            c->failed = d.err.code;
        }
    }
    CHECK_INT(hearth_next(g, &d, -1), -1);
}

static int ask(struct hearth_model *m, const struct hearth_request *r, struct answer *a, int n)
{
    struct hearth_gen *g;
    struct err e = {0};
    int rc = hearth_generate(m, r, &g, &e);
    if (rc < 0)
        return rc;
    collect(g, a, n);
    hearth_gen_free(g);
    return 0;
}

static void answers_repeat(void)
{
    static struct answer a[3], b[3];
    struct hearth *h = open_with(0);
    struct hearth_model *m = get(h, path[0]);
    struct hearth_request r = {.messages_json = chat,
                               .max_tokens = 40,
                               .temperature = 0.9f,
                               .has_seed = true,
                               .seed = 7,
                               .n = 3,
                               .ignore_eos = true};
    CHECK_INT(ask(m, &r, a, 3), 0);
    CHECK_INT(ask(m, &r, b, 3), 0);
    for (int i = 0; i < 3; i++) {
        CHECK(a[i].len == b[i].len && memcmp(a[i].text, b[i].text, a[i].len) == 0);
        CHECK_STR(a[i].finish, "length");
        CHECK_INT(a[i].usage.n_output, 40);
    }
    CHECK(a[0].len != a[1].len || memcmp(a[0].text, a[1].text, a[0].len) != 0);
    r.n = 1;
    r.seed = 8; /* choice i of seed s is choice 0 of seed s + i */
    CHECK_INT(ask(m, &r, b, 1), 0);
    CHECK(a[1].len == b[0].len && memcmp(a[1].text, b[0].text, b[0].len) == 0);
    hearth_model_unref(m);
    hearth_close(h);
}

static void stop_strings_cut(void)
{
    static struct answer whole, cut;
    struct hearth *h = open_with(0);
    struct hearth_model *m = get(h, path[0]);
    struct hearth_request r = {.prompt = "once upon a time",
                               .max_tokens = 60,
                               .temperature = 1,
                               .has_seed = true,
                               .seed = 3,
                               .ignore_eos = true};
    CHECK_INT(ask(m, &r, &whole, 1), 0);
    CHECK(whole.len > 20);
    r.n_stop = 1;
    for (size_t at = 1; at + 5 < whole.len; at += 3)
        for (size_t len = 1; len <= 5; len += 2) {
            char stop[8] = {0};
            memcpy(stop, whole.text + at, len);
            if (strlen(stop) != len)
                continue;
            const char *list[] = {stop};
            r.stop = list;
            CHECK_INT(ask(m, &r, &cut, 1), 0);
            size_t want = (size_t)((char *)memmem(whole.text, whole.len, stop, len) - whole.text);
            CHECK_INT(cut.len, want);
            CHECK(memcmp(cut.text, whole.text, cut.len) == 0);
            CHECK_STR(cut.finish, "stop");
            CHECK(cut.usage.n_output > 0 && cut.usage.n_output <= 60);
        }
    hearth_model_unref(m);
    hearth_close(h);
}

static void logprobs_cover_the_text(void)
{
    static struct answer a;
    struct hearth *h = open_with(0);
    struct hearth_model *m = get(h, path[0]);
    struct hearth_request r = {.prompt = "once upon a time", .max_tokens = 30, .logprobs = 3, .ignore_eos = true};
    CHECK_INT(ask(m, &r, &a, 1), 0);
    CHECK(a.n_logprob == 30 && a.n_tokens == 30);
    CHECK_INT(a.usage.n_output, 30);
    hearth_model_unref(m);
    hearth_close(h);
}

static void refused_requests(void)
{
    static const struct {
        const char *messages;
        int code;
    } bad[] = {
        {"", ERR_USAGE},
        {"{}", ERR_USAGE},
        {"[]", ERR_USAGE},
        {"[1]", ERR_USAGE},
        {"[{\"role\":\"user\"}]", ERR_USAGE},
        {"[{\"role\":\"pope\",\"content\":\"x\"}]", ERR_USAGE},
        {"[{\"content\":\"x\"}]", ERR_USAGE},
        {"[{\"role\":\"user\",\"content\":5}]", ERR_USAGE},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]", ERR_UNSUPPORTED},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]", ERR_USAGE},
        {"[{\"role\":\"assistant\",\"tool_calls\":[1]}]", ERR_USAGE},
        {"[{\"role\":\"user\",\"content\":\"x\"}] tail", ERR_USAGE},
    };
    struct hearth *h = open_with(0);
    struct hearth_model *m = get(h, path[0]), *base = get(h, path[2]);
    struct hearth_gen *g = NULL;
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc =
            hearth_generate(m, &(struct hearth_request){.messages_json = bad[i].messages, .max_tokens = 1}, &g, &e);
        CHECK_INT(rc, bad[i].code);
        if (rc != bad[i].code)
            fprintf(stderr, "  %s\n", bad[i].messages);
    }
    CHECK(!hearth_model_has_template(base));
    CHECK_INT(hearth_generate(base, &(struct hearth_request){.messages_json = chat}, &g, &e), ERR_UNSUPPORTED);
    CHECK(strstr(e.msg, "base model") != NULL);
    CHECK_INT(hearth_generate(m, &(struct hearth_request){.max_tokens = 1}, &g, &e), ERR_USAGE);
    CHECK_INT(hearth_generate(m, &(struct hearth_request){.prompt = "x", .max_tokens = -1}, &g, &e), ERR_RANGE);
    CHECK_INT(hearth_generate(m, &(struct hearth_request){.prompt = "x", .n = 1000}, &g, &e), ERR_RANGE);
    CHECK_INT(hearth_generate(m, &(struct hearth_request){.prompt = "x", .n = -1}, &g, &e), ERR_RANGE);
    char *longer = calloc(1, 20001);
    memset(longer, 'z', 20000);
    CHECK_INT(hearth_generate(m, &(struct hearth_request){.prompt = longer}, &g, &e), ERR_LIMIT);
    CHECK(strstr(e.msg, "tokens, context 2048") != NULL);
    free(longer);
    const char *stops[65];
    for (int i = 0; i < 65; i++)
        stops[i] = "x";
    CHECK_INT(hearth_generate(m, &(struct hearth_request){.prompt = "x", .stop = stops, .n_stop = 65}, &g, &e),
              ERR_LIMIT);
    CHECK(g == NULL);
    CHECK_INT(hearth_model_get(h, "/nonexistent/x.gguf", NULL, NULL, &base, &e), ERR_NOTFOUND);
    hearth_model_unref(m);
    hearth_model_unref(base);
    hearth_close(h);
}

static void content_parts_and_roles(void)
{
    struct hearth *h = open_with(0);
    struct hearth_model *m = get(h, path[0]);
    char *a = NULL, *b = NULL;
    struct err e = {0};
    CHECK_INT(hearth_render(
                  m, "[{\"role\":\"system\",\"content\":\"Be brief\"},{\"role\":\"user\",\"content\":\"Hello there\"}]",
                  NULL, &a, &e),
              0);
    CHECK_INT(
        hearth_render(
            m,
            "[{\"role\":\"developer\",\"content\":\"Be brief\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
            "\"Hello \"},{\"type\":\"text\",\"text\":\"there\"}]}]",
            "[]", &b, &e),
        0);
    CHECK_STR(a, b);
    CHECK(a && strstr(a, "Hello there") != NULL);
    mem_free(a);
    mem_free(b);
    int32_t *ids = NULL;
    size_t n = 0;
    CHECK_INT(hearth_tokenize(m, "once upon", 9, false, false, &ids, &n, &e), 0);
    CHECK(n > 0);
    CHECK_INT(hearth_detokenize(m, ids, n, &a, &e), 0);
    CHECK_STR(a, "once upon");
    mem_free(a);
    ids[0] = 1 << 30;
    CHECK_INT(hearth_detokenize(m, ids, n, &a, &e), ERR_RANGE);
    mem_free(ids);
    hearth_model_unref(m);
    hearth_close(h);
}

static void cancel_ends_all_choices(void)
{
    static struct answer a[4];
    struct hearth *h = open_with(0);
    struct hearth_model *m = get(h, path[0]);
    struct hearth_request r = {.prompt = "x", .n = 4, .max_tokens = 2000, .ignore_eos = true};
    struct hearth_gen *g;
    struct err e;
    CHECK_INT(hearth_generate(m, &r, &g, &e), 0);
    CHECK_INT(hearth_gen_prompt_tokens(g) > 0, 1);
    struct hearth_delta d;
    CHECK_INT(hearth_next(g, &d, -1), 1);
    CHECK_INT(hearth_model_unload(h, path[0], &e), ERR_BUSY);
    hearth_cancel(g);
    collect(g, a, 4);
    for (int i = 0; i < 4; i++)
        CHECK_STR(a[i].finish, "cancelled");
    hearth_gen_free(g);
    CHECK_INT(hearth_generate(m, &r, &g, &e), 0); /* freed while it runs */
    hearth_gen_free(g);
    hearth_model_unref(m);
    CHECK_INT(hearth_model_unload(h, path[0], &e), 0);
    CHECK_INT(hearth_model_unload(h, path[0], &e), ERR_NOTFOUND);
    hearth_close(h);
}

static pthread_mutex_t notified_lock = PTHREAD_MUTEX_INITIALIZER;
static int notified;

static void notify(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&notified_lock);
    notified++;
    pthread_mutex_unlock(&notified_lock);
}

static void notify_passes_through(void)
{
    static struct answer a;
    struct hearth *h = open_with(0);
    struct hearth_model *m = get(h, path[0]);
    notified = 0;
    CHECK_INT(
        ask(m, &(struct hearth_request){.prompt = "x", .max_tokens = 5, .ignore_eos = true, .notify = notify}, &a, 1),
        0);
    pthread_mutex_lock(&notified_lock);
    CHECK(notified >= 5);
    pthread_mutex_unlock(&notified_lock);
    hearth_model_unref(m);
    hearth_close(h);
}

struct getter {
    struct hearth *h;
    struct hearth_model *m;
    int give_up, rc;
};

static int impatient(void *arg, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return *(int *)arg;
}

static void *getter_main(void *arg)
{
    struct getter *g = arg;
    struct err e;
    g->rc = hearth_model_get(g->h, path[1], impatient, &g->give_up, &g->m, &e);
    return NULL;
}

static void one_load_for_all(void)
{
    enum { N = 8 };
    struct hearth *h = open_with(0);
    pthread_t t[N];
    struct getter g[N];
    for (int i = 0; i < N; i++) {
        g[i] = (struct getter){.h = h, .give_up = i == 3};
        pthread_create(&t[i], NULL, getter_main, &g[i]);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(t[i], NULL);
        if (i != 3)
            CHECK_INT(g[i].rc, 0);
        CHECK(g[i].rc == 0 ? g[i].m != NULL : g[i].rc == ERR_CANCELLED);
        if (g[i].m && g[0].m)
            CHECK(g[i].m == g[0].m);
    }
    struct hearth_model_status st[4];
    CHECK_INT(hearth_models(h, st, 4), 1);
    CHECK_STR(st[0].state, "ready");
    CHECK(st[0].bytes > 100000 && st[0].n_ctx == 2048 && st[0].progress == 1.0);
    struct err e;
    CHECK_INT(hearth_model_unload(h, path[1], &e), ERR_BUSY);
    for (int i = 0; i < N; i++)
        hearth_model_unref(g[i].m);
    CHECK_INT(hearth_model_unload(h, path[1], &e), 0);
    CHECK_INT(hearth_models(h, st, 4), 0);
    hearth_close(h);
}

static size_t bytes_of(struct hearth *h, const char *state)
{
    struct hearth_model_status st[4];
    size_t n = hearth_models(h, st, 4), sum = 0;
    for (size_t i = 0; i < n && i < 4; i++)
        if (strcmp(st[i].state, state) == 0)
            sum += st[i].bytes;
    return sum;
}

/* How likely the first words of an answer are, with these words about caches; 1: refused. */
static float score_with_cache(const char *const *kv, size_t n, char *name)
{
    struct hearth *h;
    struct err e = {0};
    struct hearth_gen *g;
    struct hearth_delta d;
    if (hearth_open(&h, &(struct hearth_opts){.data_dir = dir, .threads = 1, .kv = kv, .n_kv = n}, &e)) {
        CHECK_INT(e.code, ERR_USAGE);
        return 1;
    }
    struct hearth_model *m = get(h, path[0]);
    struct hearth_request r = {.prompt = "Hello there", .max_tokens = 8, .logprobs = 1, .ignore_eos = true};
    float sum = 0;
    CHECK_INT(hearth_generate(m, &r, &g, &e), 0);
    while (hearth_next(g, &d, -1) == 1)
        for (size_t i = 0; d.type == HEARTH_TEXT && d.logprobs && i < d.n_tokens; i++)
            sum += d.logprobs[i].logprob;
    snprintf(name, 96, "%s", hearth_model_name(m));
    hearth_gen_free(g);
    hearth_model_unref(m);
    hearth_close(h);
    return sum;
}

static void caches_by_type(void)
{
    char name[96], own[128], other[] = "no-such-model=q8_0";
    float f32 = score_with_cache((const char *const[]){"f32"}, 1, name),
          e4m3 = score_with_cache((const char *const[]){"F8_E4M3"}, 1, name);
    CHECK(f32 < 0 && e4m3 < 0 && f32 != e4m3);
    snprintf(own, sizeof own, "%s=f32", name);
    CHECK(score_with_cache((const char *const[]){own, "f8_e4m3", other}, 3, name) ==
          f32);                                                                        /* the model's own word counts */
    CHECK(score_with_cache((const char *const[]){"f32", "f8_e4m3"}, 2, name) == e4m3); /* the last word counts */
    CHECK(score_with_cache((const char *const[]){"q9"}, 1, name) == 1);
    CHECK(score_with_cache((const char *const[]){"=f16"}, 1, name) == 1);
}

static void idle_models_leave(void)
{
    static struct answer before, after;
    struct hearth *h = open_with((size_t)1 << 30);
    struct ledger *l = hearth_ledger(h);
    struct err e = {0};
    size_t empty = ledger_used(l);
    struct hearth_request r = {.prompt = "once upon", .max_tokens = 20, .ignore_eos = true};
    struct hearth_model *a = get(h, path[0]);
    CHECK_INT(ask(a, &r, &before, 1), 0);
    hearth_model_unref(a);
    struct hearth_model *b = get(h, path[1]);
    size_t both = bytes_of(h, "ready"), spare = both / 5;
    CHECK_INT(ledger_set_ceiling(l, empty + both + spare, &e), 0);
    struct hearth_model *c = NULL;
    CHECK_INT(hearth_model_get(h, path[2], NULL, NULL, &c, &e),
              ERR_NOMEM); /* b is in use and c is the largest: a alone is not enough */
    CHECK(strstr(e.msg, "MiB") != NULL);
    struct hearth_model_status st[4];
    CHECK_INT(hearth_models(h, st, 4), 2); /* nobody leaves in vain */
    a = get(h, path[0]);                   /* comes back and says the same */
    CHECK(a != NULL);
    if (a)
        CHECK_INT(ask(a, &r, &after, 1), 0);
    CHECK(after.len == before.len && memcmp(after.text, before.text, after.len) == 0);
    hearth_model_unref(a);
    hearth_model_unref(b);
    CHECK_INT(hearth_model_unload(h, path[0], &e), 0);
    CHECK_INT(hearth_model_unload(h, path[1], &e), 0);
    CHECK_INT(ledger_used(l), empty);
    hearth_close(h);
}

static void copy_file(const char *from, const char *to)
{
    static char block[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    for (size_t n; in && out && (n = fread(block, 1, sizeof block, in)) > 0;)
        fwrite(block, 1, n, out);
    CHECK(in && out && fclose(in) == 0 && fclose(out) == 0);
}

static struct hearth *open_drafted(const char *const *draft, size_t n)
{
    struct hearth *h = NULL;
    struct err e = {0};
    struct hearth_opts o = {.data_dir = dir, .threads = 1, .draft = draft, .n_draft = n};
    return hearth_open(&h, &o, &e) < 0 ? NULL : h;
}

static size_t held_by_models(struct hearth *h, const char *end) /* what ends so, of all models */
{
    struct ledger_row rows[64];
    size_t n = ledger_list(hearth_ledger(h), rows, 64, NULL), sum = 0, len = strlen(end);
    for (size_t i = 0; i < n && i < 64; i++) {
        size_t l = strlen(rows[i].path);
        if (strncmp(rows[i].path, "model/", 6) == 0 && l > len && strcmp(rows[i].path + l - len, end) == 0)
            sum += rows[i].bytes;
    }
    return sum;
}

struct caches {
    struct hearth *h;
    size_t most;
};

static void see_caches(void *arg) /* the engine's thread, between two tokens */
{
    struct caches *c = arg;
    size_t now = held_by_models(c->h, "/kv");
    c->most = now > c->most ? now : c->most;
}

/* What was foretold of a model and its draft is what the ledger has then, to the byte. */
static void a_draft_is_foretold(void)
{
    enum { ANSWER = 150 };
    char twin[80], stranger[600];
    snprintf(twin, sizeof twin, "%s/twin.gguf", dir);
    copy_file(path[0], twin);
    const char *drafts[] = {twin};
    struct hearth *h = open_drafted(drafts, 1);
    struct hearth_fit f, alone, later;
    struct hearth_model *m;
    struct hearth_gen *g;
    struct hearth_delta d;
    struct err e = {0};
    CHECK(h != NULL);
    struct caches kv = {.h = h};
    struct hearth_request r = {
        .prompt = "once upon", .max_tokens = ANSWER, .ignore_eos = true, .notify = see_caches, .notify_arg = &kv};
    CHECK_INT(hearth_fit(h, path[0], ANSWER, 1, &f, &e), 0);
    CHECK_INT(hearth_fit(h, twin, ANSWER, 1, &alone, &e), 0);
    CHECK(!alone.draft.name[0] && alone.weights == f.draft.weights && alone.text == f.draft.text);
    CHECK(strcmp(f.draft.name, "twin") == 0 && !f.draft.resident && f.draft.kv == alone.kv);
    size_t by_itself = f.weights + f.scratch + f.header + f.text + f.kv + f.rows + f.requests;
    CHECK_INT(f.total, by_itself + f.draft.weights + f.draft.scratch + f.draft.header + f.draft.text + f.draft.kv);
    CHECK_INT(held_by_models(h, ""), 0);
    CHECK((m = get(h, path[0])) != NULL);
    CHECK_INT(held_by_models(h, ""), f.total - f.kv - f.draft.kv - f.requests);
    CHECK_INT(hearth_fit(h, path[0], ANSWER, 1, &later, &e), 0);
    CHECK(later.resident && later.draft.resident && later.total == f.total && later.busy_bytes == 0);
    CHECK_INT(hearth_generate(m, &r, &g, &e), 0);
    while (hearth_next(g, &d, -1) == 1)
        ;
    hearth_gen_free(g);
    CHECK(kv.most >= f.kv && kv.most <= f.kv + f.draft.kv); /* when it begins to guess is chance */
    hearth_model_unref(m);
    hearth_fit_under(&f, f.used + f.total - f.draft.weights);
    CHECK(!f.fits && f.need >= f.draft.weights);
    hearth_close(h);
    snprintf(stranger, sizeof stranger, "%s", path[1]);
    drafts[0] = stranger; /* another vocabulary: a load goes without */
    CHECK((h = open_drafted(drafts, 1)) != NULL);
    CHECK_INT(hearth_fit(h, path[0], ANSWER, 1, &f, &e), 0);
    CHECK(!f.draft.name[0] && f.total == by_itself);
    hearth_close(h);
}

static void a_draft_comes_and_goes_with_its_model(void)
{
    static struct answer with, without;
    char twin[80], pair[160], other[600];
    snprintf(twin, sizeof twin, "%s/twin.gguf", dir);
    copy_file(path[0], twin);
    const char *name = strrchr(path[0], '/') ? strrchr(path[0], '/') + 1 : path[0];
    snprintf(pair, sizeof pair, "%.*s=%s", (int)strlen(name) - 5, name, twin);
    snprintf(other, sizeof other, "%.*s=%s", (int)strlen(name) - 5, name, path[1]);
    struct hearth_request r = {.prompt = "once upon", .max_tokens = 60, .ignore_eos = true};
    struct hearth *h = open_with(0);
    struct hearth_model *m = get(h, path[0]);
    CHECK_INT(ask(m, &r, &without, 1), 0);
    hearth_model_unref(m);
    hearth_close(h);
    const char *drafts[] = {pair};
    struct err e;
    struct hearth_model_status st[4];
    CHECK((h = open_drafted(drafts, 1)) != NULL);
    CHECK((m = get(h, path[0])) != NULL);
    CHECK_INT(hearth_models(h, st, 4), 2); /* the draft came, too */
    CHECK_INT(ask(m, &r, &with, 1), 0);
    CHECK(with.len == without.len && memcmp(with.text, without.text, with.len) == 0);
    CHECK(with.usage.n_accepted > 0);
    CHECK_INT(hearth_model_unload(h, twin, &e), ERR_BUSY); /* pinned */
    hearth_model_unref(m);
    CHECK_INT(hearth_model_unload(h, path[0], &e), 0);
    CHECK_INT(hearth_model_unload(h, twin, &e), 0);
    CHECK((m = get(h, path[0])) != NULL); /* again, and closed with both there */
    hearth_model_unref(m);
    hearth_close(h);
    drafts[0] = other; /* another vocabulary */
    CHECK((h = open_drafted(drafts, 1)) != NULL);
    CHECK_INT(hearth_model_get(h, path[0], NULL, NULL, &m, &e), ERR_RANGE);
    CHECK(strstr(e.msg, "vocabulary") != NULL);
    hearth_close(h);
    drafts[0] = "=x";
    CHECK(open_drafted(drafts, 1) == NULL);
    drafts[0] = "x=";
    CHECK(open_drafted(drafts, 1) == NULL);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 1;
    dir = folder_make("session");
    for (int i = 0; i < 3; i++)
        path[i] = argv[i + 1];
    RUN(answers_repeat);
    RUN(stop_strings_cut);
    RUN(logprobs_cover_the_text);
    RUN(refused_requests);
    RUN(content_parts_and_roles);
    RUN(cancel_ends_all_choices);
    RUN(notify_passes_through);
    RUN(one_load_for_all);
    RUN(caches_by_type);
    RUN(idle_models_leave);
    RUN(a_draft_is_foretold);
    RUN(a_draft_comes_and_goes_with_its_model);
    folder_remove(dir);
    return check_done();
}
