/* Ten thousand random events on tiny models under a ceiling that does not hold them all: chats, forks, long prompts, cancels, loads,
 * unloads, a ceiling that moves, files that vanish. Whatever happens: the ledger is the sum of its owners and of what is allocated, RSS
 * stays below the ledger and 20 MB, every answer that completes is the answer of the same request alone, nothing is lost or stuck.
 * Arguments: three tiny models, the first with a chat template. HEARTH_EVENTS: how many; HEARTH_SEED: which. */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "hearth.h"
#include "ledger/ledger.h"
#include "unit/check.h"
#include "unit/folder.h"
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

enum { MODELS = 3, ASKS = 40, SLOTS = 5, CLIENTS = 3, TEXT = 4096, LONG = 900, CHOICES = 3 };
/* What was promised to requests when they were taken in must still fit when the ceiling falls: LEAST. */
static const size_t ROOM = (size_t)90 << 20, LEAST = (size_t)8 << 20;
static size_t ceiling; /* ROOM beside the program itself, which a sanitizer makes large */

static const char *dir;
static char file[MODELS][80], away[MODELS][80];
static const char *source[MODELS];

struct text {
    char byte[TEXT];
    size_t len;
};
static struct ask { /* a request, and what it answers when nobody else is there */
    int model, n;
    struct hearth_request r;
    char prompt[LONG + 64];
    struct text truth[CHOICES];
} ask[ASKS];

struct slot { /* a generation under way */
    struct hearth_model *m;
    struct hearth_gen *g;
    const struct ask *a;
    struct text got[CHOICES];
    int done;
    bool cancelled;
};

struct client {
    struct hearth *h;
    uint64_t seed, at; /* counter of the random numbers */
    long n_events;
    struct slot slot[SLOTS];
    long begun, completed, cut, refused, in_vain, moved, wrong;
};

static uint64_t pick(struct client *c, uint64_t n)
{
    return (uint64_t)(rng_uniform(c->seed, 1, c->at++) * (double)n);
}

static void make_asks(void)
{
    static const char *const opening[] = {"once upon a time", "the quick brown fox", "a b a b a b a b", "hello"};
    for (int i = 0; i < ASKS; i++) {
        struct ask *a = &ask[i];
        a->model = i % MODELS;
        a->n = i % 7 == 3 ? CHOICES : 1;
        size_t len = (size_t)snprintf(a->prompt, sizeof a->prompt, "%s ", opening[i / MODELS % 4]);
        if (i % 5 == 2) /* long, with a beginning that others share */
            for (; len < LONG; len++)
                a->prompt[len] = (char)('a' + (len * 7 + (len > 500 ? (size_t)i : 0)) % 11);
        a->prompt[len] = 0;
        a->r = (struct hearth_request){.prompt = a->prompt,
                                       .n = a->n,
                                       .max_tokens = 3 + i * 13 % 40,
                                       .temperature = i % 3 ? 0.9f : 0.0f,
                                       .has_seed = true,
                                       .seed = (uint64_t)i,
                                       .logprobs = i % 4 == 1 ? 2 : 0,
                                       .ignore_eos = i % 2 == 0};
    }
}

static void add_text(struct text *t, const struct hearth_delta *d)
{
    if (t->len + d->text_len > TEXT)
        return;
    memcpy(t->byte + t->len, d->text, d->text_len);
    t->len += d->text_len;
}

/* Takes what is there; true when all choices have ended. */
static bool drain(struct client *c, struct slot *s, int timeout_ms)
{
    struct hearth_delta d;
    int got;
    while ((got = hearth_next(s->g, &d, timeout_ms)) == 1) {
        if (d.type == HEARTH_TEXT) {
            add_text(&s->got[d.choice], &d);
            continue;
        }
        s->done++;
        const struct text *truth = &s->a->truth[d.choice];
        struct text *mine = &s->got[d.choice];
        bool whole = d.type == HEARTH_DONE && strcmp(d.finish, "cancelled") != 0;
        bool no_room = d.type == HEARTH_FAILED && d.err.code == ERR_NOMEM && !mine->len &&
                       strstr(d.err.msg, "MiB of KV cache"); /* it waited, in vain, and had not begun */
        c->in_vain += no_room;
        c->completed += whole;
        c->cut += !whole;
        if (d.type == HEARTH_FAILED && !no_room)
            fprintf(stderr, "  failed: %s\n", d.err.msg);
        if (!whole && mine->len >= 3 && memcmp(mine->byte + mine->len - 3, "\xef\xbf\xbd", 3) == 0)
            mine->len -= 3; /* the half of a character that cutting left */
        /* whoever was cut has said the beginning of the truth; who was not, all of it; nobody who has begun fails */
        if (no_room)
            continue;
        if (d.type == HEARTH_FAILED || (whole ? mine->len != truth->len : mine->len > truth->len || !s->cancelled) ||
            memcmp(mine->byte, truth->byte, mine->len) != 0) {
            c->wrong++;
            fprintf(stderr, "  ask %d choice %d (%s): \"%.*s\" is not \"%.*s\"\n", (int)(s->a - ask), d.choice,
                    d.type == HEARTH_DONE ? d.finish : "failed", (int)mine->len, mine->byte, (int)truth->len,
                    truth->byte);
        }
    }
    return got < 0;
}

static void leave(struct slot *s)
{
    hearth_gen_free(s->g);
    hearth_model_unref(s->m);
    s->g = NULL;
}

static bool may_refuse(int rc)
{
    return rc == ERR_NOMEM || rc == ERR_BUSY || rc == ERR_NOTFOUND || rc == ERR_IO;
}

static void begin(struct client *c, struct slot *s)
{
    struct err e = {0};
    const struct ask *a = &ask[pick(c, ASKS)];
    *s = (struct slot){.a = a};
    int rc = hearth_model_get(c->h, file[a->model], NULL, NULL, &s->m, &e);
    if (rc == 0 && (rc = hearth_generate(s->m, &a->r, &s->g, &e)) < 0)
        hearth_model_unref(s->m);
    if (rc == 0) {
        c->begun += a->n;
        return;
    }
    s->g = NULL;
    c->refused++;
    if (!may_refuse(rc)) {
        c->wrong++;
        fprintf(stderr, "  ask %d is refused: %s\n", (int)(a - ask), e.msg);
    }
}

static void look(struct client *c) /* what holds at any moment */
{
    struct ledger *l = hearth_ledger(c->h);
    size_t used = ledger_used(l);
    if (used > ceiling) {
        c->wrong++;
        fprintf(stderr, "  %zu bytes are reserved under a ceiling of %zu\n", used, ceiling);
    }
#ifndef CHECK_SANITIZED
    const size_t SLACK = 20000000;
    size_t rss = cpu_rss(), now = ledger_used(l);
    if (!getenv("HEARTH_QEMU") && rss > (now > used ? now : used) + SLACK && cpu_rss() > ledger_used(l) + SLACK) {
        c->wrong++;
        fprintf(stderr, "  RSS %zu, ledger %zu\n", rss, now);
    }
#endif
}

static void move_file(struct client *c)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    size_t i = pick(c, MODELS);
    pthread_mutex_lock(&lock);
    if (rename(file[i], away[i]) != 0 || pick(c, 3) < 2)
        rename(away[i], file[i]);
    pthread_mutex_unlock(&lock);
    c->moved++;
}

static void one_event(struct client *c)
{
    struct err e;
    struct slot *s = &c->slot[pick(c, SLOTS)];
    uint64_t what = pick(c, 100);
    if (what < 62) { /* talk */
        if (!s->g)
            begin(c, s);
        else if (drain(c, s, what < 40 ? 5 : 0))
            leave(s);
    } else if (what < 65) { /* change one's mind, in two ways */
        if (s->g && what < 64) {
            hearth_cancel(s->g);
            s->cancelled = true;
        } else if (s->g) {
            c->cut += s->a->n - s->done;
            leave(s);
        }
    } else if (what < 76) {
        hearth_model_unload(c->h, file[pick(c, MODELS)], &e);
    } else if (what < 84) {
        struct hearth_model *m;
        if (hearth_model_get(c->h, file[pick(c, MODELS)], NULL, NULL, &m, &e) == 0)
            hearth_model_unref(m);
    } else if (what < 96) {
        size_t used = ledger_used(hearth_ledger(c->h)), least = used + LEAST < ceiling ? used + LEAST : ceiling;
        ledger_set_ceiling(hearth_ledger(c->h), what < 92 ? ceiling : least + pick(c, ceiling - least + 1), &e);
    } else {
        move_file(c);
    }
    look(c);
}

static void *client_main(void *arg)
{
    struct client *c = arg;
    for (long i = 0; i < c->n_events; i++)
        one_event(c);
    struct err e;
    ledger_set_ceiling(hearth_ledger(c->h), ceiling, &e); /* what was taken in under it can go on */
    for (int i = 0; i < SLOTS; i++)
        if (c->slot[i].g) {
            while (!drain(c, &c->slot[i], -1))
                ;
            leave(&c->slot[i]);
        }
    return NULL;
}

static struct hearth *open_with(size_t bytes, int threads)
{
    struct hearth *h = NULL;
    struct err e = {0};
    /* a client that holds one model and waits for another may have to be refused: soon */
    struct hearth_opts o = {.data_dir = dir, .ceiling = bytes, .threads = threads, .load_timeout_s = 1};
    if (hearth_open(&h, &o, &e) < 0) {
        fprintf(stderr, "hearth_open: %s\n", e.msg);
        exit(1);
    }
    return h;
}

static void find_truth(void)
{
    struct err e;
    for (int i = 0; i < ASKS; i++) {
        struct hearth *h = open_with((size_t)1 << 30, 1); /* a new one each time: nothing is left of the one before */
        struct client c = {.h = h};
        struct slot s = {.a = &ask[i]};
        CHECK_INT(hearth_model_get(h, file[ask[i].model], NULL, NULL, &s.m, &e), 0);
        CHECK_INT(hearth_generate(s.m, &ask[i].r, &s.g, &e), 0);
        struct hearth_delta d;
        while (hearth_next(s.g, &d, -1) == 1)
            if (d.type == HEARTH_TEXT)
                add_text(&ask[i].truth[d.choice], &d);
            else
                CHECK_INT(d.type, HEARTH_DONE);
        leave(&s);
        hearth_close(h);
        (void)c;
    }
}

static bool sums_agree(struct ledger *l)
{
    enum { ROWS = 256 };
    struct ledger_row row[ROWS];
    size_t used, n = ledger_list(l, row, ROWS, &used), sum = 0;
    for (size_t i = 0; i < n && i < ROWS; i++)
        sum += row[i].bytes;
    return n < ROWS && sum == used && ledger_allocated(l) == mem_pages_live();
}

/* Nobody asks for anything any more: the engine lets go of the last requests, and then the sums must agree. */
static void all_in_order(struct hearth *h)
{
    enum { PATIENCE_S = 20 };
    bool agree = false; /* of one look: what reads them twice may meet the engine between the two */
    for (double end = clock_s() + PATIENCE_S; !(agree = sums_agree(hearth_ledger(h))) && clock_s() < end;)
        sched_yield();
    CHECK(agree);
}

static void random_events(void)
{
    const char *events = getenv("HEARTH_EVENTS"), *seed = getenv("HEARTH_SEED");
    long n = events ? atol(events) : 10000;
    struct hearth *h = open_with((size_t)4 << 30, 2);
    size_t empty = ledger_used(hearth_ledger(h));
    struct err e;
    ceiling = empty + ROOM;
    CHECK_INT(ledger_set_ceiling(hearth_ledger(h), ceiling, &e), 0);
    struct client *c = calloc(CLIENTS, sizeof *c);
    pthread_t t[CLIENTS];
    long begun = 0, ended = 0, completed = 0, refused = 0, in_vain = 0, wrong = 0;
    for (int i = 0; i < CLIENTS; i++) {
        c[i] = (struct client){.h = h, .seed = (seed ? strtoull(seed, NULL, 10) : 1) * CLIENTS + (uint64_t)i};
        c[i].n_events = n / CLIENTS;
        CHECK_INT(pthread_create(&t[i], NULL, client_main, &c[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(t[i], NULL);
        begun += c[i].begun;
        ended += c[i].completed + c[i].cut;
        completed += c[i].completed;
        refused += c[i].refused;
        in_vain += c[i].in_vain;
        wrong += c[i].wrong;
    }
    printf("     %ld events: %ld answers begun, %ld completed, %ld refused, %ld waited for room in vain\n", n, begun,
           completed, refused, in_vain);
    CHECK_INT(wrong, 0);
    CHECK_INT(begun, ended);     /* none lost */
    CHECK(completed > n / 1000); /* how many is a question of the machine's speed */
    all_in_order(h);
    for (int i = 0; i < MODELS; i++) {
        rename(away[i], file[i]); /* if it is away still */
        hearth_model_unload(h, file[i], &e);
    }
    all_in_order(h);
    CHECK(ledger_used(hearth_ledger(h)) <=
          empty + ((size_t)1 << 20)); /* at most what the cache of prefixes has as a table */
    hearth_close(h);
    CHECK_INT(mem_pages_live(), 0);
    free(c);
}

static void copy_file(const char *from, const char *to)
{
    static char block[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    for (size_t n; in && out && (n = fread(block, 1, sizeof block, in)) > 0;)
        fwrite(block, 1, n, out);
    if (!in || !out || fclose(in) || fclose(out))
        exit(1);
}

int main(int argc, char **argv)
{
    enum { STUCK_S = 900 };
    if (argc <= MODELS)
        return 1;
    dir = folder_make("events");
    alarm(STUCK_S); /* who is stuck is killed, and that is a failure */
    for (int i = 0; i < MODELS; i++) {
        source[i] = argv[i + 1];
        snprintf(file[i], sizeof file[i], "%s/model%d.gguf", dir, i);
        snprintf(away[i], sizeof away[i], "%s/model%d.away", dir, i);
        copy_file(source[i], file[i]);
    }
    make_asks();
    RUN(find_truth);
    RUN(random_events);
    folder_remove(dir);
    return check_done();
}
