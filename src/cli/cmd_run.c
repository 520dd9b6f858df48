/* hearth run: one answer, or a conversation (chat.c). Owns where the question comes from and how one answer is printed. */
#include "base/mem.h"
#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/out.h"
#include "cli/pull.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct values {
    struct sampling sampling; /* first: SAMPLING_ROWS */
    const char *system, *data_dir, *cpu_mask;
    struct opt_texts kv, draft;
    size_t ceiling;
    int threads;
    bool raw, json, verbose, local, precise, no_spec;
};
_Static_assert(offsetof(struct values, sampling) == 0, "SAMPLING_ROWS count from the start");

const struct opt run_opts[] = {
    SAMPLING_ROWS,
    {"system", 's', OPT_TEXT, "TEXT", "system prompt", offsetof(struct values, system), 0, 0},
    {"raw", 0, OPT_FLAG, NULL, "continue the text as it is: no chat template", offsetof(struct values, raw), 0, 0},
    {"json", 0, OPT_FLAG, NULL, "one JSON object: text, usage, timings, finish", offsetof(struct values, json), 0, 0},
    {"verbose", 'v', OPT_FLAG, NULL, "tokens/s and time to first token on stderr", offsetof(struct values, verbose), 0,
     0},
    {"local", 0, OPT_FLAG, NULL, "load here even if a server runs", offsetof(struct values, local), 0, 0},
    OPT_ROW_THREADS(struct values),
    OPT_ROW_CEILING(struct values),
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_KVS(struct values),
    OPT_ROW_PRECISE(struct values),
    OPT_ROW_NO_SPEC(struct values),
    OPT_ROW_DRAFT(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

/* Known but not here: offers the download on a terminal. Anything else is left to answer_open's errors. */
static int fetch_if_missing(const struct values *v, const char *name)
{
    struct store *s;
    struct store_model m;
    struct err e;
    int code = CLI_OK;
    if (store_open(&s, v->data_dir, &e))
        return cli_fail(&e);
    char *path = NULL;
    if (store_path(s, name, &path, NULL) && store_find(s, name, &m, NULL) == 0 && !m.installed && m.in_catalogue) {
        char q[200], size[OUT_SHORT];
        snprintf(q, sizeof q, "%s is not installed. Pull it now (%s)?", m.name, out_bytes(size, m.bytes));
        struct pull_args a = {.name = m.name};
        if (pull_ask(q, true))
            code = pull_model(s, &a);
        else
            code = cli_error(CLI_FAILED, "%s is not installed; pull it with: hearth pull %s", m.name, m.name);
    }
    mem_free(path);
    store_close(s);
    return code;
}

static void print_text(void *arg, const char *text, size_t n)
{
    (void)arg;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static int print_json(const struct answer_source *s, const char *model, const struct answer *a)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", model);
    jsonw_key(&w, "text");
    jsonw_strn(&w, a->text.data ? a->text.data : "", a->text.len);
    jsonw_kstr(&w, "finish", a->finish);
    jsonw_key(&w, "usage");
    jsonw_obj(&w);
    jsonw_kint(&w, "prompt_tokens", a->n_prompt);
    jsonw_kint(&w, "cached_tokens", a->n_cached);
    jsonw_kint(&w, "completion_tokens", a->n_output);
    jsonw_kint(&w, "drafted_tokens", a->n_drafted);
    jsonw_kint(&w, "accepted_tokens", a->n_accepted);
    jsonw_end_obj(&w);
    jsonw_key(&w, "timings");
    jsonw_obj(&w);
    jsonw_kdouble(&w, "ttft_s", a->ttft_s);
    jsonw_kdouble(&w, "decode_s", a->decode_s);
    jsonw_kdouble(&w, "tokens_per_s", a->n_output > 1 && a->decode_s > 0 ? (a->n_output - 1) / a->decode_s : 0);
    jsonw_end_obj(&w);
    jsonw_kbool(&w, "server", answer_remote(s));
    jsonw_end_obj(&w);
    return out_json(&b);
}

static int one_answer(struct answer_source *s, const struct values *v, const char *model, const char *prompt)
{
    struct answer a;
    struct err e = {0};
    bool raw = v->raw || !answer_has_template(s);
    if (raw && !v->raw && !v->json)
        fprintf(stderr, "hearth: %s has no chat template; the text is continued as with --raw\n", model);
    char *messages = raw ? NULL : chat_question(v->system, prompt);
    if (!raw && !messages)
        return cli_error(CLI_FAILED, "out of memory; close other programs and try again");
    struct answer_ask q = {
        .messages_json = messages, .prompt = prompt, .sampling = &v->sampling, .text = v->json ? NULL : print_text};
    int r = answer_get(s, &q, &a, &e), code = CLI_OK;
    mem_free(messages);
    if (!v->json && a.text.len && a.text.data[a.text.len - 1] != '\n')
        putchar('\n');
    if (r)
        code = cli_fail(&e);
    else if (v->json)
        code = print_json(s, model, &a);
    if (!r && v->verbose)
        chat_stats(&a);
    if (!r && strcmp(a.finish, "cancelled") == 0)
        code = CLI_INTERRUPTED;
    answer_done(&a);
    return code;
}

int cmd_run(const struct command *c, int argc, char **argv)
{
    struct values v = {.sampling = SAMPLING_DEFAULT};
    struct err e = {0};
    struct buf prompt = {0};
    struct answer_source *s = NULL;
    unsigned mask;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    struct answer_where w = {.model = argv[0],
                             .data_dir = v.data_dir,
                             .ceiling = v.ceiling,
                             .threads = v.threads,
                             .precise = v.precise,
                             .kv = v.kv.v,
                             .n_kv = v.kv.n,
                             .draft = v.draft.v,
                             .n_draft = v.draft.n,
                             .no_spec = v.no_spec,
                             .quiet = v.json};
    if (cli_cpu_mask(v.cpu_mask, &w.cpu_mask, &mask, &e))
        return cli_fail(&e);
    w.local = v.local || w.cpu_mask || v.threads || v.precise || v.ceiling || v.no_spec || v.kv.n ||
              v.draft.n; /* a running server has its own */
    bool talk = argc == 1 && isatty(STDIN_FILENO) && !v.json;
    if ((code = fetch_if_missing(&v, argv[0])) != CLI_OK)
        return code;
    cli_catch_interrupt();
    if (!talk && input_words(argc - 1, argv + 1, &prompt, &e))
        code = cli_fail(&e);
    else if (!talk && prompt.len == 0)
        code = cli_error(CLI_USAGE, "the prompt is empty; give it as a word or on standard input");
    else if (!talk && strlen(prompt.data) != prompt.len)
        code = cli_error(CLI_FAILED, "the prompt holds a zero byte; give it as text");
    else if (answer_open(&s, &w, &e))
        code = cli_fail(&e);
    else if (talk)
        return chat_run(&(struct chat_args){
            .source = s, .where = w, .sampling = &v.sampling, .system = v.system, .raw = v.raw, .verbose = v.verbose});
    else
        code = one_answer(s, &v, argv[0], prompt.data);
    answer_close(s);
    buf_done(&prompt);
    return code;
}
