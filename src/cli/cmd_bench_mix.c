/* hearth bench mix: several models in one process, chats that keep each of them busy, and a long prompt that intrudes. In this process,
 * through the session's API: all that the server does but HTTP. */
#include "base/mem.h"
#include "cli/bench_mix.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/out.h"
#include "ledger/ledger.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct values {
    const char *data_dir, *cpu_mask;
    size_t ceiling;
    int threads, chats, answers, prompt, tokens, intruder;
    bool json;
};
const struct opt bench_mix_opts[] = {
    {"chats", 'n', OPT_INT, "N", "steady chats of each model (2)", offsetof(struct values, chats), 1, MIX_CHATS},
    {"answers", 'a', OPT_INT, "N", "answers of each chat (4)", offsetof(struct values, answers), 1, 10000},
    {"prompt", 'p', OPT_INT, "N", "words of a chat's prompt (64)", offsetof(struct values, prompt), 1, 1 << 20},
    {"tokens", 't', OPT_INT, "N", "tokens of an answer (64)", offsetof(struct values, tokens), 2, 1 << 20},
    {"intruder", 'i', OPT_INT, "N", "words of the long prompt, which goes to the last model; 0: none (2048)",
     offsetof(struct values, intruder), 0, 1 << 20},
    OPT_ROW_THREADS(struct values),
    OPT_ROW_CEILING(struct values),
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

enum { ALONE, TOGETHER, INTRUDER, PHASES };
static const char *const phase_name[] = {"alone", "together", "intruder"};

struct result {
    struct mix_seen *seen[PHASES]; /* [n_models] each */
    double parts_s, together_s, intruder_s;
    int n_phases, n_intruder;
    size_t ceiling, peak;
    uint64_t evicted;
};

static int run_phases(struct mix *m, const struct values *v, struct mix_seen *one, struct result *r, struct err *e)
{
    int rc = 0;
    char label[160];
    struct mix_phase p = {.label = label, .seen = one};
    for (int i = 0; i < m->n_models && !rc; i++) {
        snprintf(label, sizeof label, "%.100s alone", m->model[i]);
        p.only = i;
        rc = mix_run(m, &p, e);
        r->seen[ALONE][i] = one[i];
        r->parts_s += p.seconds;
    }
    p = (struct mix_phase){.label = "all together", .only = -1, .seen = r->seen[TOGETHER]};
    if (!rc)
        rc = mix_run(m, &p, e);
    r->together_s = p.seconds;
    r->n_phases = INTRUDER;
    if (rc || !v->intruder)
        return rc;
    snprintf(label, sizeof label, "all together, %d words for %.80s", v->intruder, m->model[m->n_models - 1]);
    p = (struct mix_phase){.label = label, .only = -1, .intruder = v->intruder, .seen = r->seen[INTRUDER]};
    rc = mix_run(m, &p, e);
    r->intruder_s = p.seconds;
    r->n_intruder = p.n_intruder;
    r->n_phases = PHASES;
    return rc;
}

/* Of the machine time that all models had; negative: cannot be told. */
static double share_of(const struct mix *m, const struct mix_seen *seen, int model)
{
    double all = 0;
    for (int i = 0; i < m->n_models; i++) {
        if (seen[i].busy_s < 0)
            return -1;
        all += seen[i].busy_s;
    }
    return all > 0 ? seen[model].busy_s / all : -1;
}

static void print_ms(const struct mix_times *t, double share, int width)
{
    if (t->total)
        printf(" %*.*f |", width, width > 7 ? 0 : 1, (share < 1 ? mix_times_at(t, share) : t->most) * 1e3);
    else
        printf(" %*s |", width, "-");
}

static void print_row(const struct mix *m, const struct result *r, int model, int phase)
{
    const struct mix_seen *s = &r->seen[phase][model];
    double share = phase == ALONE ? 1 : share_of(m, r->seen[phase], model);
    char part[16] = "-";
    if (share >= 0)
        snprintf(part, sizeof part, "%.1f %%", share * 100);
    printf("| %-22s | %-8s |", m->name[model], phase_name[phase]);
    print_ms(&s->first, 0.5, 8);
    print_ms(&s->first, 0.99, 8);
    print_ms(&s->between, 0.5, 7);
    print_ms(&s->between, 0.99, 7);
    print_ms(&s->between, 1, 7);
    printf(" %8.1f | %7s |\n", (double)s->n_output / s->seconds, part);
}

static void print(const struct mix *m, const struct values *v, const struct result *r)
{
    char a[OUT_SHORT], b[OUT_SHORT];
    printf("%d chat%s a model, %d answers each, %d words -> %d tokens; milliseconds\n\n", v->chats,
           v->chats > 1 ? "s" : "", v->answers, v->prompt, v->tokens);
    printf("| %-22s | %-8s | %8s | %8s | %7s | %7s | %7s | %8s | %7s |\n", "model", "when", "first 50", "99 %",
           "next 50", "99 %", "longest", "tokens/s", "machine");
    printf(
        "| ---------------------- | -------- | -------: | -------: | ------: | ------: | ------: | -------: | ------: |\n");
    for (int i = 0; i < m->n_models; i++)
        for (int p = 0; p < r->n_phases; p++)
            print_row(m, r, i, p);
    printf(
        "\nall together %.2f s, one model after the other %.2f s: %.3f of the sum of the parts; an equal share is %.1f %%\n",
        r->together_s, r->parts_s, r->parts_s / r->together_s, 100.0 / m->n_models);
    if (r->n_phases > INTRUDER)
        printf("intruder: %d tokens for %s, first token after %.2f s\n", r->n_intruder, m->name[m->n_models - 1],
               r->intruder_s);
    printf("memory: peak %s of %s; %llu models had to leave\n", out_bytes(a, r->peak), out_bytes(b, r->ceiling),
           (unsigned long long)r->evicted);
    if (r->evicted)
        printf("the parts hold no loads: each model was there before its own began\n");
}

static void json_times(struct jsonw *w, const char *key, const struct mix_times *t)
{
    jsonw_key(w, key);
    jsonw_obj(w);
    jsonw_kdouble(w, "p50", mix_times_at(t, 0.5) * 1e3);
    jsonw_kdouble(w, "p99", mix_times_at(t, 0.99) * 1e3);
    jsonw_kdouble(w, "most", t->most * 1e3);
    jsonw_kint(w, "n", (int64_t)t->total);
    jsonw_end_obj(w);
}

static void json_phase(struct jsonw *w, const struct mix *m, const struct result *r, int model, int phase)
{
    const struct mix_seen *s = &r->seen[phase][model];
    double share = phase == ALONE ? 1 : share_of(m, r->seen[phase], model);
    jsonw_key(w, phase_name[phase]);
    jsonw_obj(w);
    json_times(w, "first_ms", &s->first);
    json_times(w, "between_ms", &s->between);
    jsonw_kint(w, "prompt_tokens", s->n_prompt);
    jsonw_kint(w, "output_tokens", s->n_output);
    jsonw_kdouble(w, "seconds", s->seconds);
    jsonw_kdouble(w, "tokens_per_s", (double)s->n_output / s->seconds);
    jsonw_key(w, "share");
    if (share >= 0)
        jsonw_double(w, share);
    else
        jsonw_null(w);
    jsonw_end_obj(w);
}

static int print_json(const struct mix *m, const struct values *v, const struct result *r)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kint(&w, "chats", v->chats);
    jsonw_kint(&w, "answers", v->answers);
    jsonw_key(&w, "models");
    jsonw_arr(&w);
    for (int i = 0; i < m->n_models; i++) {
        jsonw_obj(&w);
        jsonw_kstr(&w, "model", m->name[i]);
        for (int p = 0; p < r->n_phases; p++)
            json_phase(&w, m, r, i, p);
        jsonw_end_obj(&w);
    }
    jsonw_end_arr(&w);
    jsonw_kdouble(&w, "together_s", r->together_s);
    jsonw_kdouble(&w, "parts_s", r->parts_s);
    jsonw_kdouble(&w, "of_parts", r->parts_s / r->together_s);
    if (r->n_phases > INTRUDER) {
        jsonw_kint(&w, "intruder_tokens", r->n_intruder);
        jsonw_kdouble(&w, "intruder_s", r->intruder_s);
    }
    jsonw_kint(&w, "ceiling", (int64_t)r->ceiling);
    jsonw_kint(&w, "peak", (int64_t)r->peak);
    jsonw_kint(&w, "evicted", (int64_t)r->evicted);
    jsonw_end_obj(&w);
    return out_json(&b);
}

static int run(struct mix *m, const struct values *v, struct result *r, struct err *e)
{
    struct ledger_owner *own = NULL;
    void *mem = NULL;
    size_t each = (size_t)m->n_models * sizeof(struct mix_seen);
    int rc = ledger_owner_new(hearth_ledger(m->h), "bench/mix", &own, e);
    if (rc == 0)
        rc = ledger_alloc(own, (PHASES + 1) * each, &mem, e);
    if (rc == 0) {
        struct mix_seen *seen = mem;
        for (int i = 0; i < PHASES; i++)
            r->seen[i] = seen + i * m->n_models;
        rc = run_phases(m, v, seen + PHASES * m->n_models, r, e);
    }
    if (rc == 0) {
        struct hearth_pressure p;
        hearth_pressure(m->h, &p);
        r->ceiling = p.ceiling;
        r->evicted = p.evicted;
        r->peak = ledger_peak(hearth_ledger(m->h));
        if (v->json)
            print_json(m, v, r);
        else
            print(m, v, r);
    }
    if (mem)
        ledger_dealloc(own, mem, (PHASES + 1) * each);
    ledger_owner_free(own);
    return rc;
}

int cmd_bench_mix(const struct command *c, int argc, char **argv)
{
    struct values v = {.chats = 2, .answers = 4, .prompt = 64, .tokens = 64, .intruder = 2048};
    struct mix m = {.tty = isatty(STDERR_FILENO)};
    struct result r = {0};
    struct err e = {0};
    const char *mask_name;
    unsigned mask;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    cli_catch_interrupt();
    int rc = cli_cpu_mask(v.cpu_mask, &mask_name, &mask, &e);
    for (int i = 0; i < argc && !rc; i++) { /* what is not there is told before anything is measured */
        char *path = NULL;
        rc = input_model_path(v.data_dir, argv[i], &path, &e);
        mem_free(path);
    }
    struct hearth_opts o = {.data_dir = v.data_dir, .ceiling = v.ceiling, .threads = v.threads, .cpu_mask = mask_name};
    if (!rc) {
        cli_hold_interrupt(true);
        rc = hearth_open(&m.h, &o, &e);
        cli_hold_interrupt(false);
    }
    m.model = argv;
    m.n_models = argc;
    m.chats = v.chats;
    m.answers = v.answers;
    m.words = v.prompt;
    m.tokens = v.tokens;
    if (!rc)
        rc = run(&m, &v, &r, &e);
    hearth_close(m.h);
    return rc ? cli_fail(&e) : CLI_OK;
}
