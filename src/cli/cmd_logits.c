/* hearth logits: the raw logits of every position of given token lists, as the engine computes them. The golden tests'
 * door: input a JSON array of arrays of ids, output f32 little-endian [sum of positions][n_vocab]. */
#include "base/fs.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "engine/engine.h"
#include "ledger/ledger.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct values {
    const char *ids, *out, *data_dir, *cpu_mask, *kv;
    size_t ceiling;
    int threads, chunk;
    bool precise;
};
const struct opt logits_opts[] = {
    {"ids", 0, OPT_TEXT, "FILE", "JSON: [[id, ...], ...]", offsetof(struct values, ids), 0, 0},
    {"out", 'o', OPT_TEXT, "FILE", "raw f32 goes here", offsetof(struct values, out), 0, 0},
    {"chunk", 0, OPT_INT, "N", "prefill chunk; 0: default (0)", offsetof(struct values, chunk), 0, 1 << 20},
    OPT_ROW_THREADS(struct values),
    OPT_ROW_CEILING(struct values),
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_KV(struct values),
    OPT_ROW_PRECISE(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

struct sink {
    int fd;
    uint64_t base; /* positions of the lists before this one */
    int n_token;
    int failed; /* errno of the first failed write; read after the request has ended */
};

/* Positions may come in any order and the last one twice: each has its place in the file. Engine thread. */
static void on_logits(void *arg, int pos, const float *logits, size_t n_vocab)
{
    struct sink *s = arg;
    if (pos < 0 || pos >= s->n_token || s->failed)
        return;
    const char *p = (const char *)logits;
    size_t left = n_vocab * sizeof(float);
    off_t at = (off_t)((s->base + (uint64_t)pos) * left);
    while (left) {
        ssize_t n = pwrite(s->fd, p, left, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            s->failed = n < 0 ? errno : EIO;
            return;
        }
        p += n;
        at += n;
        left -= (size_t)n;
    }
}

static int read_list(const cJSON *list, int n_vocab, int32_t **out, int *n_out, struct err *e)
{
    int n = cJSON_GetArraySize(list), i = 0;
    if (!cJSON_IsArray(list) || n < 1)
        return err_set(e, ERR_FORMAT, "--ids wants a JSON array of non-empty arrays of token ids");
    int32_t *id = mem_calloc((size_t)n, sizeof *id);
    if (!id)
        return err_set(e, ERR_NOMEM, "out of memory");
    const cJSON *j;
    cJSON_ArrayForEach(j, list)
    {
        if (!cJSON_IsNumber(j) || j->valuedouble < 0 || j->valuedouble >= n_vocab || j->valuedouble != j->valueint) {
            mem_free(id);
            return err_set(e, ERR_RANGE, "element %d of a list in --ids is no token of this model (0 to %d)", i,
                           n_vocab - 1);
        }
        id[i++] = j->valueint;
    }
    *out = id;
    *n_out = n;
    return 0;
}

static int run_list(struct engine *g, struct engine_model *m, const int32_t *id, struct sink *s, struct err *e)
{
    struct request_args a = {.model = m,
                             .token = id,
                             .n_token = s->n_token,
                             .max_tokens = 1,
                             .on_logits = on_logits,
                             .logits_arg = s,
                             .all_logits = true};
    a.sample.top_p = 1;
    a.sample.repetition_penalty = 1;
    a.sample.logprobs = -1;
    a.sample.ignore_eos = true;
    struct request *q;
    struct event ev = {0};
    int r = engine_submit(g, &a, &q, e);
    if (r)
        return r;
    do {
        if (cli_interrupted())
            request_cancel(q);
    } while (!request_next(q, &ev, 100) || ev.type == EVENT_TOKEN);
    request_free(q);
    if (ev.type == EVENT_ERROR)
        return err_set(e, ev.err.code, "%s", ev.err.msg);
    if (ev.finish == FINISH_CANCELLED)
        return err_set(e, ERR_CANCELLED, "interrupted");
    return 0;
}

static int run_lists(struct engine *g, struct engine_model *m, const cJSON *lists, int fd, struct err *e)
{
    struct sink s = {.fd = fd};
    const cJSON *list;
    if (!cJSON_IsArray(lists))
        return err_set(e, ERR_FORMAT, "--ids wants a JSON array of arrays of token ids");
    cJSON_ArrayForEach(list, lists)
    {
        int32_t *id = NULL;
        int r = read_list(list, engine_model_info(m)->n_vocab, &id, &s.n_token, e);
        if (r)
            return r;
        r = run_list(g, m, id, &s, e);
        mem_free(id);
        if (r)
            return r;
        if (s.failed) {
            errno = s.failed;
            return err_errno(e, "cannot write the logits");
        }
        s.base += (uint64_t)s.n_token;
    }
    return 0;
}

int cmd_logits(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct err e = {0};
    struct ledger *ledger = NULL;
    struct engine *g = NULL;
    struct engine_model *m = NULL;
    cJSON *lists = NULL;
    char *path = NULL, *text = NULL;
    const char *mask_name;
    size_t n;
    int fd = -1, code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (!v.ids || !v.out)
        return cli_error(CLI_USAGE, "logits wants --ids and --out; see: hearth help logits");
    cli_catch_interrupt();
    struct engine_opts o = {.n_threads = v.threads, .prefill_chunk = v.chunk};
    int r = cli_cpu_mask(v.cpu_mask, &mask_name, &o.cpu_mask, &e);
    if (!r && !(r = fs_read_all(v.ids, 256 << 20, &text, &n, &e)) && !(lists = cJSON_ParseWithLength(text, n)))
        r = err_set(&e, ERR_FORMAT, "%s is no JSON", v.ids);
    if (!r && (fd = open(v.out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        r = err_errno(&e, "cannot write %s", v.out);
    if (!r)
        r = input_model_path(v.data_dir, argv[0], &path, &e);
    if (!r)
        r = ledger_new(&ledger, v.ceiling, &e);
    o.ledger = ledger;
    if (!r)
        r = engine_new(&g, &o, &e);
    struct engine_load load = {.path = path, .name = "logits", .precise = v.precise};
    if (!r && v.kv)
        r = model_kv_flag(v.kv, &load.kv, &e);
    if (!r)
        r = engine_model_load(g, &load, &m, &e);
    if (!r)
        r = run_lists(g, m, lists, fd, &e);
    if (fd >= 0 && close(fd) && !r)
        r = err_errno(&e, "cannot write %s", v.out);
    engine_model_unref(m);
    engine_free(g);
    ledger_free(ledger);
    cJSON_Delete(lists);
    mem_free(text);
    mem_free(path);
    return r ? cli_fail(&e) : CLI_OK;
}
