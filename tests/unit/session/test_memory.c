/* What the ledger says against what the process holds (RSS), while a real model loads, serves and leaves: within 3 %.
 * Needs a model of some size: $HEARTH_CACHE/models/<one of the list>.gguf; else skipped. */
#include "base/cpu.h"
#include "hearth.h"
#include "ledger/ledger.h"
#include "unit/check.h"
#include "unit/folder.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char model[512];

static bool find_model(void)
{
    static const char *const names[] = {"qwen2.5-coder-0.5b", "gemma3-270m", "qwen2.5-coder-1.5b"};
    const char *cache = getenv("HEARTH_CACHE");
    for (size_t i = 0; cache && i < sizeof names / sizeof *names; i++) {
        struct stat st;
        snprintf(model, sizeof model, "%s/models/%s.gguf", cache, names[i]);
        if (stat(model, &st) == 0)
            return true;
    }
    return false;
}

struct watch {
    struct hearth *h;
    atomic_bool stop;
    double worst_used, worst_rss;   /* at the worst moment */
    double worst_over, worst_under; /* RSS above and below the ledger, as shares of the ledger */
    size_t slack;                   /* bytes that do not count: a few pages of heap on an empty process are no 3 % */
    int samples;
};

static void look(struct watch *w)
{
    double used = (double)ledger_used(hearth_ledger(w->h)), rss = (double)cpu_rss(),
           used2 = (double)ledger_used(hearth_ledger(w->h));
    if (used != used2) /* changed while we looked */
        return;
    double over = (rss - used - (double)w->slack) / used, under = (used - rss - (double)w->slack) / used;
    w->worst_over = over > w->worst_over ? over : w->worst_over;
    w->worst_under = under > w->worst_under ? under : w->worst_under;
    w->samples++;
}

static void *watch_main(void *arg)
{
    struct watch *w = arg;
    while (!atomic_load(&w->stop)) {
        double used = (double)ledger_used(hearth_ledger(w->h)), rss = (double)cpu_rss();
        double over = (rss - used - (double)w->slack) / used;
        if (over > w->worst_over) { /* never more than was reserved, at any moment */
            w->worst_over = over;
            w->worst_used = used;
            w->worst_rss = rss;
        }
        w->samples++;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return NULL;
}

static size_t held_by_models(struct hearth *h)
{
    struct ledger_row rows[64];
    size_t n = ledger_list(hearth_ledger(h), rows, 64, NULL), sum = 0;
    for (size_t i = 0; i < n && i < 64; i++)
        if (strncmp(rows[i].path, "model/", 6) == 0)
            sum += rows[i].bytes;
    return sum;
}

/* What was foretold against what came: the ledger to the byte, the process within 2 % and 20 MB. */
static void forecast_comes_true(const struct hearth_fit *f, struct hearth *h, double rss_before)
{
    double idle = (double)(f->weights + f->scratch + f->header + f->text), grown = (double)cpu_rss() - rss_before;
    CHECK_INT(held_by_models(h), (size_t)idle);
    printf("     foretold %.2f MiB, the process grew by %.2f MiB: %+.2f %%\n", idle / 1048576, grown / 1048576,
           (grown - idle) / idle * 100);
    CHECK(fabs(grown - idle) < 0.02 * idle && fabs(grown - idle) < 20e6);
}

static void ledger_is_rss(void)
{
    const char *dir = folder_make("memory");
    struct hearth *h;
    struct hearth_model *m;
    struct hearth_gen *g;
    struct hearth_delta d;
    struct err e = {0};
    CHECK_INT(hearth_open(&h, &(struct hearth_opts){.data_dir = dir}, &e), 0);
    struct watch w = {.h = h, .slack = 4 << 20};
    pthread_t t;
    pthread_create(&t, NULL, watch_main, &w);
    struct hearth_fit fit;
    CHECK_INT(hearth_fit(h, model, 0, 3, &fit, &e), 0);
    CHECK(fit.fits && !fit.resident && fit.n_go == 0 && fit.ctx > 0 && fit.kv > 0);
    CHECK_INT(held_by_models(h), 0);
    double before = (double)cpu_rss();
    CHECK_INT(hearth_model_get(h, model, NULL, NULL, &m, &e), 0);
    forecast_comes_true(&fit, h, before);
    struct watch loaded = {.h = h};
    look(&loaded);
    struct hearth_request r = {
        .prompt = "The history of the city begins", .n = 3, .max_tokens = 40, .temperature = 1, .ignore_eos = true};
    CHECK_INT(hearth_generate(m, &r, &g, &e), 0);
    struct watch serving = {.h = h};
    while (hearth_next(g, &d, -1) == 1)
        if (d.type == HEARTH_TEXT)
            look(&serving);
    hearth_gen_free(g);
    hearth_model_unref(m);
    CHECK_INT(hearth_model_unload(h, model, &e), 0);
    struct watch unloaded = {.h = h, .slack = 4 << 20};
    look(&unloaded);
    atomic_store(&w.stop, true);
    pthread_join(t, NULL);
    printf(
        "     RSS above / below ledger: loading %.2f %% / -, loaded %.2f / %.2f, serving %.2f / %.2f, unloaded %.2f / %.2f\n",
        w.worst_over * 100, loaded.worst_over * 100, loaded.worst_under * 100, serving.worst_over * 100,
        serving.worst_under * 100, unloaded.worst_over * 100, unloaded.worst_under * 100);
    if (w.worst_over > 0)
        printf("     worst moment: RSS %.1f MiB, ledger %.1f MiB\n", w.worst_rss / 1048576, w.worst_used / 1048576);
    CHECK(w.samples > 10 && serving.samples > 0);
    CHECK(w.worst_over < 0.03);
    CHECK(loaded.worst_over < 0.03 && loaded.worst_under < 0.03);
    CHECK(serving.worst_over < 0.03 && serving.worst_under < 0.03);
    CHECK(unloaded.worst_over < 0.03 && unloaded.worst_under < 0.03);
    hearth_close(h);
    folder_remove(dir);
}

int main(void)
{
#ifdef CHECK_SANITIZED
    check_skip("ledger_is_rss", "a sanitizer's shadow memory is in RSS");
#else
    if (getenv("HEARTH_QEMU"))
        check_skip("ledger_is_rss", "an emulator's own memory is in RSS");
    else if (find_model())
        RUN(ledger_is_rss);
    else
        check_skip("ledger_is_rss", "no model in $HEARTH_CACHE/models");
#endif
    return check_done();
}
