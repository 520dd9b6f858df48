/* hearth up: the server in the foreground. Owns the command's life: default model, the line that says it is up, the state file
 * that other commands find it by, progress of loads on stderr, the browser, a clean end. The API itself is api/. */
#include "api/api.h"
#include "base/cpu.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/pull.h"
#include "hearth.h"
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

struct values {
    const char *host, *keep_alive, *key, *key_file, *data_dir, *cpu_mask;
    struct opt_texts models, origins, kv, draft;
    size_t ceiling, kv_disk;
    int port, threads;
    bool no_open, precise, no_spec;
};
const struct opt up_opts[] = {
    {"port", 'p', OPT_INT, "N", "port; 0: any free one (11000)", offsetof(struct values, port), 0, 65535},
    {"host", 0, OPT_TEXT, "ADDR", "address to listen on; beyond loopback a key is demanded (127.0.0.1)",
     offsetof(struct values, host), 0, 0},
    {"model", 'm', OPT_TEXTS, "NAME", "load this model; may be repeated, the first is the default",
     offsetof(struct values, models), 0, 0},
    OPT_ROW_CEILING(struct values),
    {"keep-alive", 0, OPT_TEXT, "TIME", "how long an idle model stays: 5m, 2h, 0; -1: until memory is needed (-1)",
     offsetof(struct values, keep_alive), 0, 0},
    OPT_ROW_THREADS(struct values),
    {"api-key", 0, OPT_TEXT, "KEY", "demand this key (others can see it in the process list)",
     offsetof(struct values, key), 0, 0},
    {"api-key-file", 0, OPT_TEXT, "FILE", "demand the key in this file", offsetof(struct values, key_file), 0, 0},
    {"allow-origin", 0, OPT_TEXTS, "URL", "a web page's origin that may call, too", offsetof(struct values, origins), 0,
     0},
    {"no-open", 0, OPT_FLAG, NULL, "do not open the page in a browser", offsetof(struct values, no_open), 0, 0},
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_KVS(struct values),
    OPT_ROW_PRECISE(struct values),
    OPT_ROW_NO_SPEC(struct values),
    OPT_ROW_DRAFT(struct values),
    {"kv-disk", 0, OPT_SIZE, "SIZE", "keep conversations' caches on disk, too, up to this size: 20G (off)",
     offsetof(struct values, kv_disk), 1 << 20, 9e18},
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

enum { DRAIN_MS = 800, WATCHED = 16, LOADING_MS = 200, CALM_MS = 1000 };

/* First line of the key file. */
static int read_key(const char *path, char **key, struct err *e)
{
    size_t n;
    int r = fs_read_all(path, 4096, key, &n, e);
    if (r)
        return r;
    (*key)[strcspn(*key, "\r\n")] = 0;
    if (strlen(*key) < 8)
        return err_set(e, ERR_USAGE, "the key in %s has fewer than 8 characters; write a longer one", path);
    return 0;
}

/* The model that is loaded when none is named: the catalogue's best for this memory, pulled if it is missing. A failed
 * download is told, and the server starts without a model: others may be there. NULL: none, or interrupted. */
static const char *default_model(const struct values *v)
{
    struct cpu_memory mem = {0};
    struct store *s;
    struct err e;
    char *path = NULL;
    cpu_memory_read(&mem);
    const char *name = store_default(v->ceiling && v->ceiling < mem.available ? v->ceiling : mem.available);
    if (store_open(&s, v->data_dir, &e)) {
        cli_fail(&e);
        return NULL;
    }
    if (name && store_path(s, name, &path, NULL) != 0) {
        fprintf(stderr, "hearth: fetching the default model for this machine, %s\n", name);
        struct pull_args a = {.name = name};
        if (pull_model(s, &a) != CLI_OK)
            name = NULL;
    }
    mem_free(path);
    store_close(s);
    return name;
}

static void open_browser(const char *url)
{
    bool desktop = getenv("DISPLAY") || getenv("WAYLAND_DISPLAY");
    bool remote_root = geteuid() == 0 && getenv("SSH_CONNECTION");
    if (!desktop || remote_root)
        return;
    posix_spawn_file_actions_t fa;
    pid_t pid;
    char *argv[] = {"xdg-open", (char *)url, NULL};
    if (posix_spawn_file_actions_init(&fa))
        return;
    posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", 2, 0); /* 2: O_RDWR */
    posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null", 2, 0);
    posix_spawnp(&pid, "xdg-open", &fa, NULL, argv,
                 environ); /* no xdg-open, no browser: the line on the terminal is enough */
    posix_spawn_file_actions_destroy(&fa);
}

/* Loads go on in the API's background; this tells of them on stderr. */
struct watch {
    struct out_progress bar;
    struct hearth_model_status seen[WATCHED];
    size_t n_seen;
};

static const char *state_before(const struct watch *w, const char *name)
{
    for (size_t i = 0; i < w->n_seen; i++)
        if (strcmp(w->seen[i].name, name) == 0)
            return w->seen[i].state;
    return "";
}

static bool watch_loads(struct watch *w, struct hearth *h)
{
    struct hearth_model_status now[WATCHED];
    size_t n = hearth_models(h, now, WATCHED);
    bool loading = false;
    if (n > WATCHED)
        n = WATCHED;
    for (size_t i = 0; i < n; i++) {
        const struct hearth_model_status *m = &now[i];
        if (strcmp(m->state, "loading") == 0) {
            loading = true;
            char stage[24] = "loading";
            if (w->bar.tty) /* elsewhere a new stage would be a new line, five times a second */
                snprintf(stage, sizeof stage, "loading %d %%", (int)(m->progress * 100));
            out_progress_show(&w->bar, m->name, stage, 0, 0, 0, -1);
        } else if (strcmp(m->state, "ready") == 0 && strcmp(state_before(w, m->name), "ready") != 0) {
            char size[OUT_SHORT];
            out_progress_end(&w->bar);
            fprintf(stderr, "%s: ready, %s, loaded in %.1f s\n", m->name, out_bytes(size, m->bytes), m->load_s);
        }
    }
    if (!loading)
        out_progress_end(&w->bar);
    memcpy(w->seen, now, n * sizeof now[0]);
    w->n_seen = n;
    return loading;
}

static int serve(struct hearth *h, const struct values *v, const struct api_opts *o, const char *dir)
{
    struct api *api;
    struct err e = {0};
    int r = api_start(&api, h, o, &e);
    cli_hold_interrupt(false);
    if (r)
        return cli_fail(&e);
    const char *url = api_url(api);
    /* First the file that other commands look for: who reads the line may run one at once. */
    if (client_state_write(dir, url, o->api_key, &e))
        cli_error(CLI_FAILED, "%s; other commands will not find this server", e.msg);
    printf("Hearth is up: %s\n", url);
    fflush(stdout);
    if (!v->no_open)
        open_browser(url);
    struct watch w = {.n_seen = 0};
    out_progress_init(&w.bar, false);
    while (!cli_interrupted())
        cli_rest(watch_loads(&w, h) ? LOADING_MS : CALM_MS);
    out_progress_end(&w.bar);
    fprintf(stderr, "hearth: shutting down\n");
    client_state_remove(dir);
    api_stop(api, DRAIN_MS);
    return CLI_OK;
}

int cmd_up(const struct command *c, int argc, char **argv)
{
    struct values v = {.port = 11000};
    struct err e = {0};
    struct hearth *h = NULL;
    char *key = NULL, *dir = NULL;
    const char *mask_name, *fallback = NULL;
    unsigned mask;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    int keep = HEARTH_KEEP_DEFAULT;
    if (v.keep_alive && hearth_keep_parse(v.keep_alive, &keep, &e))
        return cli_error(CLI_USAGE, "--keep-alive: %s", e.msg);
    if (v.key && v.key_file)
        return cli_error(CLI_USAGE, "--api-key and --api-key-file exclude each other; keep one");
    cli_catch_interrupt();
    signal(SIGPIPE, SIG_IGN);
    code = CLI_FAILED;
    if (cli_cpu_mask(v.cpu_mask, &mask_name, &mask, &e) || (v.key_file && read_key(v.key_file, &key, &e)) ||
        (v.data_dir ? fs_mkdirs(v.data_dir, &e) : fs_data_dir(&dir, &e))) {
        code = cli_fail(&e);
        goto done;
    }
    struct api_opts o = {
        .host = v.host,
        .port = v.port,
        .api_key = v.key ? v.key : key,
        .allow_origins = v.origins.v,
        .n_allow_origins = v.origins.n,
        .models = v.models.v,
        .n_models = v.models.n,
    };
    if (api_check(&o, &e)) {
        code = cli_fail(&e);
        goto done;
    }
    if (v.models.n == 0 && (fallback = default_model(&v)) != NULL) {
        o.models = &fallback;
        o.n_models = 1;
    }
    if (cli_interrupted()) {
        code = CLI_INTERRUPTED;
        goto done;
    }
    struct hearth_opts ho = {.data_dir = v.data_dir,
                             .ceiling = v.ceiling,
                             .keep_alive = keep,
                             .threads = v.threads,
                             .cpu_mask = mask_name,
                             .precise = v.precise,
                             .kv = v.kv.v,
                             .n_kv = v.kv.n,
                             .draft = v.draft.v,
                             .n_draft = v.draft.n,
                             .kv_disk = v.kv_disk,
                             .spec_max = v.no_spec ? -1 : 0};
    cli_hold_interrupt(true);
    if (hearth_open(&h, &ho, &e)) {
        code = cli_fail(&e);
        goto done;
    }
    code = serve(h, &v, &o, v.data_dir ? v.data_dir : dir);
    hearth_close(h);
done:
    mem_free(key);
    mem_free(dir);
    return code;
}
