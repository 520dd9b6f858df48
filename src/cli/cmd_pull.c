/* hearth pull: see pull.h. Owns the questions and the progress; the store does the work. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/pull.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct values {
    const char *as, *data_dir;
    bool accept, json, verify;
};
const struct opt pull_opts[] = {
    {"accept", 'y', OPT_FLAG, NULL, "agree to the model's licence terms", offsetof(struct values, accept), 0, 0},
    {"as", 0, OPT_TEXT, "NAME", "install under this name", offsetof(struct values, as), 0, 0},
    {"verify", 0, OPT_FLAG, NULL, "check an installed file's SHA-256 again", offsetof(struct values, verify), 0, 0},
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

bool pull_ask(const char *question, bool fallback)
{
    char line[32];
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return false;
    fprintf(stderr, "%s [%s] ", question, fallback ? "Y/n" : "y/N");
    if (!fgets(line, sizeof line, stdin))
        return false;
    return line[0] == '\n' ? fallback : line[0] == 'y' || line[0] == 'Y';
}

struct pulling {
    const struct pull_args *a;
    struct out_progress bar;
    double last;
    char stage[24];
};

static void json_progress(struct pulling *p, const struct store_progress *s)
{
    double now = clock_s();
    if (now - p->last < 0.5 && strcmp(p->stage, s->stage) == 0)
        return;
    p->last = now;
    snprintf(p->stage, sizeof p->stage, "%s", s->stage);
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "name", p->a->name);
    jsonw_kstr(&w, "stage", s->stage);
    jsonw_kstr(&w, "source", s->source);
    jsonw_kint(&w, "done", (int64_t)s->done);
    jsonw_kint(&w, "total", (int64_t)s->total);
    jsonw_kdouble(&w, "bytes_per_s", s->bytes_per_s);
    jsonw_kdouble(&w, "eta_s", s->eta_s);
    jsonw_end_obj(&w);
    out_json(&b);
}

static int on_progress(void *arg, const struct store_progress *s)
{
    struct pulling *p = arg;
    if (p->a->json)
        json_progress(p, s);
    else
        out_progress_show(&p->bar, p->a->name, s->stage, s->done, s->total, s->bytes_per_s, s->eta_s);
    return cli_interrupted();
}

static int agree(const struct pull_args *a, const struct store_model *m)
{
    if (!m->terms[0] || m->installed)
        return CLI_OK;
    fprintf(stderr, "%s is licensed under: %s\n%s\n", m->name, m->licence, m->terms);
    if (a->accept || pull_ask("Do you agree to these terms?", false))
        return CLI_OK;
    return cli_error(CLI_FAILED, "the terms of %s are not agreed to; read them, then: hearth pull %s --accept", m->name,
                     a->name);
}

static void tell_done(const struct pull_args *a, const struct store_model *m)
{
    char size[OUT_SHORT];
    if (!a->json) {
        fprintf(stderr, "%s: ready (%s%s%s)\n", m->name, out_bytes(size, m->bytes), m->quant[0] ? ", " : "", m->quant);
        return;
    }
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "name", m->name);
    jsonw_kstr(&w, "stage", "done");
    jsonw_kint(&w, "bytes", (int64_t)m->bytes);
    jsonw_kstr(&w, "sha256", m->sha256);
    jsonw_end_obj(&w);
    out_json(&b);
}

int pull_model(struct store *s, const struct pull_args *a)
{
    struct store_model m;
    struct err e = {0};
    if (store_find(s, a->name, &m, NULL) == 0) {
        int code = agree(a, &m);
        if (code)
            return code;
    }
    struct pulling p = {.a = a};
    out_progress_init(&p.bar, a->json);
    struct store_pull q = {.name = a->name, .as = a->as, .progress = on_progress, .arg = &p, .verify = a->verify};
    int r = store_pull(s, &q, &m, &e);
    out_progress_end(&p.bar);
    if (r == ERR_CANCELLED || (r && cli_interrupted()))
        return cli_error(CLI_INTERRUPTED, "stopped; what is here stays, and the download resumes with: hearth pull %s",
                         a->name);
    if (r)
        return cli_fail(&e);
    tell_done(a, &m);
    return CLI_OK;
}

int cmd_pull(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct store *s;
    struct err e = {0};
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (v.as && argc > 1)
        return cli_error(CLI_USAGE, "--as names one model; pull them one by one");
    cli_catch_interrupt();
    if (store_open(&s, v.data_dir, &e))
        return cli_fail(&e);
    code = CLI_OK;
    for (int i = 0; i < argc && code != CLI_INTERRUPTED; i++) {
        struct pull_args a = {.name = argv[i], .as = v.as, .accept = v.accept, .json = v.json, .verify = v.verify};
        int one = pull_model(s, &a);
        if (one)
            code = one;
    }
    store_close(s);
    return code;
}
