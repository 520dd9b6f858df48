/* chat: see chat.h. Owns the conversation's messages and its slash commands; line.c reads the lines. */
#include "cli/chat.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/line.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

struct chat {
    struct chat_args *a;
    cJSON *messages; /* array */
    char *model;     /* own copy of the name */
    struct answer last;
    bool leave;
    /* Texts that sampling options point at (--stop by /set) must outlive the line they came from. */
    char *kept[16];
    int n_kept;
};

struct slash {
    const char *name, *args, *help;
    void (*fn)(struct chat *c, char *arg);
};

static bool add_message(cJSON *messages, const char *role, const char *text)
{
    cJSON *m = cJSON_CreateObject();
    if (!m || !cJSON_AddStringToObject(m, "role", role) || !cJSON_AddStringToObject(m, "content", text) ||
        !cJSON_AddItemToArray(messages, m)) {
        cJSON_Delete(m);
        return false;
    }
    return true;
}

char *chat_question(const char *system, const char *prompt)
{
    cJSON *list = cJSON_CreateArray();
    char *out = NULL;
    if (list && (!system || add_message(list, "system", system)) && add_message(list, "user", prompt)) {
        char *text = cJSON_PrintUnformatted(list);
        out = text ? mem_strdup(text) : NULL;
        cJSON_free(text);
    }
    cJSON_Delete(list);
    return out;
}

void chat_stats(const struct answer *a)
{
    double rate = a->n_output > 1 && a->decode_s > 0 ? (a->n_output - 1) / a->decode_s : 0;
    fprintf(stderr, "%d prompt tokens (%d cached), first text after %.2f s, %d tokens at %.1f tokens/s, %s\n",
            a->n_prompt, a->n_cached, a->ttft_s, a->n_output, rate, a->finish);
    if (a->n_drafted)
        fprintf(stderr, "%d of %d guessed tokens were right\n", a->n_accepted, a->n_drafted);
}

static void set_system(struct chat *c, const char *text)
{
    cJSON *first = cJSON_GetArrayItem(c->messages, 0);
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(first, "role");
    if (cJSON_IsString(role) && strcmp(role->valuestring, "system") == 0)
        cJSON_DeleteItemFromArray(c->messages, 0);
    cJSON *m = cJSON_CreateObject();
    if (text && *text && m && cJSON_AddStringToObject(m, "role", "system") &&
        cJSON_AddStringToObject(m, "content", text)) {
        cJSON_InsertItemInArray(c->messages, 0, m); /* at the end when the list is empty */
        return;
    }
    cJSON_Delete(m);
}

static void slash_clear(struct chat *c, char *arg)
{
    (void)arg;
    cJSON *first = cJSON_DetachItemFromArray(c->messages, 0);
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(first, "role");
    bool keep = cJSON_IsString(role) && strcmp(role->valuestring, "system") == 0;
    while (cJSON_GetArraySize(c->messages) > 0)
        cJSON_DeleteItemFromArray(c->messages, 0);
    if (keep)
        cJSON_AddItemToArray(c->messages, first);
    else
        cJSON_Delete(first);
    printf("The conversation is empty%s.\n", keep ? " (the system prompt stays)" : "");
}

static void slash_system(struct chat *c, char *arg)
{
    set_system(c, arg);
    printf(*arg ? "System prompt set.\n" : "System prompt removed.\n");
}

static void slash_save(struct chat *c, char *arg)
{
    struct err e;
    if (!*arg) {
        cli_error(CLI_USAGE, "/save wants a file name");
        return;
    }
    char *text = cJSON_Print(c->messages);
    if (text && fs_write_atomic(arg, text, strlen(text), &e) == 0)
        printf("Saved to %s.\n", arg);
    else if (text)
        cli_fail(&e);
    cJSON_free(text);
}

static void slash_model(struct chat *c, char *arg)
{
    struct err e;
    struct answer_source *next;
    if (!*arg) {
        printf("%s%s\n", c->model, answer_remote(c->a->source) ? " (by the running server)" : "");
        return;
    }
    char *name = mem_strdup(arg);
    struct answer_where w = c->a->where;
    w.model = name;
    if (!name)
        return;
    if (answer_open(&next, &w, &e)) {
        cli_fail(&e);
        cli_clear_interrupt();
        mem_free(name);
        return;
    }
    answer_close(c->a->source);
    mem_free(c->model);
    c->a->source = next;
    c->a->where.model = c->model = name;
    printf("Now talking to %s.\n", name);
}

static void slash_set(struct chat *c, char *arg)
{
    size_t n = strcspn(arg, " ");
    char *value = arg + n + strspn(arg + n, " ");
    const struct opt *o = opt_find(sampling_opts, arg, n);
    struct err e;
    if (!n) {
        const struct sampling *p = c->a->sampling;
        printf("temp %g, top-k %d, top-p %g, min-p %g, max-tokens %d, ", (double)p->temp, p->top_k, (double)p->top_p,
               (double)p->min_p, p->max_tokens);
        if (p->seed.set)
            printf("seed %llu\n", (unsigned long long)p->seed.v);
        else
            printf("no seed\n");
        return;
    }
    if (!o || !*value) {
        cli_error(CLI_USAGE, "/set takes temp, top-k, top-p, min-p, seed, max-tokens or stop, and a value");
        return;
    }
    if (o->type == OPT_TEXTS) {
        if (c->n_kept == (int)(sizeof c->kept / sizeof c->kept[0]) || !(value = mem_strdup(value))) {
            cli_error(CLI_FAILED, "no room for more stop texts");
            return;
        }
        c->kept[c->n_kept++] = value;
    }
    if (opt_assign(o, value, c->a->sampling, &e))
        cli_fail(&e);
}

static void slash_stats(struct chat *c, char *arg)
{
    (void)arg;
    if (c->last.finish[0])
        chat_stats(&c->last);
    else
        printf("No answer yet.\n");
}

static void slash_bye(struct chat *c, char *arg)
{
    (void)arg;
    c->leave = true;
}

static void slash_help(struct chat *c, char *arg);

static const struct slash slashes[] = {
    {"help", "", "this list", slash_help},
    {"clear", "", "forget the conversation", slash_clear},
    {"system", "TEXT", "set the system prompt; without text: remove it", slash_system},
    {"save", "FILE", "write the conversation as JSON messages", slash_save},
    {"model", "NAME", "go on with another model", slash_model},
    {"set", "NAME VALUE", "temp, top-k, top-p, min-p, seed, max-tokens, stop", slash_set},
    {"stats", "", "tokens and speed of the last answer", slash_stats},
    {"bye", "", "leave (or Ctrl-D)", slash_bye},
};
enum { N_SLASHES = sizeof slashes / sizeof slashes[0] };

static void slash_help(struct chat *c, char *arg)
{
    (void)c;
    (void)arg;
    for (size_t i = 0; i < N_SLASHES; i++)
        printf("  /%-7s %-11s %s\n", slashes[i].name, slashes[i].args, slashes[i].help);
    printf("Several lines: begin and end with \"\"\", or end a line with a backslash. Ctrl-C stops an answer.\n");
}

static void slash_run(struct chat *c, char *line)
{
    size_t n = strcspn(line + 1, " ");
    char *arg = line + 1 + n + strspn(line + 1 + n, " ");
    char word[40];
    const char *near = NULL;
    snprintf(word, sizeof word, "%.*s", (int)(n > 30 ? 30 : n), line + 1);
    for (size_t i = 0; i < N_SLASHES; i++) {
        if (strcmp(word, slashes[i].name) == 0) {
            slashes[i].fn(c, arg);
            return;
        }
        if (opt_distance(word, slashes[i].name) <= 2)
            near = slashes[i].name;
    }
    if (near)
        cli_error(CLI_USAGE, "unknown command /%s; did you mean /%s?", word, near);
    else
        cli_error(CLI_USAGE, "unknown command /%s; see /help", word);
}

static void print_text(void *arg, const char *text, size_t n)
{
    (void)arg;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static void ask(struct chat *c, const char *line)
{
    struct err e;
    bool raw = c->a->raw || !answer_has_template(c->a->source);
    char *json = NULL;
    if (!raw && (!add_message(c->messages, "user", line) || !(json = cJSON_PrintUnformatted(c->messages)))) {
        cli_error(CLI_FAILED, "out of memory; /clear makes room");
        return;
    }
    answer_done(&c->last);
    struct answer_ask q = {.messages_json = json, .prompt = line, .sampling = c->a->sampling, .text = print_text};
    int r = answer_get(c->a->source, &q, &c->last, &e);
    cJSON_free(json);
    printf("\n");
    if (strcmp(c->last.finish, "cancelled") == 0)
        fprintf(stderr, "(stopped)\n");
    cli_clear_interrupt();
    if (r)
        cli_fail(&e);
    else if (c->a->verbose)
        chat_stats(&c->last);
    /* A question without an answer would leave two user turns in a row, which many templates refuse. */
    if (!raw && (r || c->last.text.len == 0))
        cJSON_DeleteItemFromArray(c->messages, cJSON_GetArraySize(c->messages) - 1);
    else if (!raw)
        add_message(c->messages, "assistant", c->last.text.data);
}

int chat_run(struct chat_args *a)
{
    struct chat c = {.a = a, .messages = cJSON_CreateArray(), .model = mem_strdup(a->where.model)};
    struct line_reader *lines = NULL;
    struct err e;
    int code = CLI_OK;
    char *line;
    if (!c.messages || !c.model) {
        code = cli_error(CLI_FAILED, "out of memory; close other programs and try again");
        goto done;
    }
    if (line_open(&lines, a->where.data_dir, &e)) {
        code = cli_fail(&e);
        goto done;
    }
    if (a->system)
        set_system(&c, a->system);
    printf("%s%s. /help for help, Ctrl-D to leave.\n", c.model,
           answer_remote(a->source) ? ", by the running server" : "");
    if (!a->raw && !answer_has_template(a->source))
        printf("This model has no chat template: each text is continued as it is.\n");
    while (!c.leave && (line = line_read(lines)) != NULL) {
        if (line[0] == '/')
            slash_run(&c, line);
        else if (line[strspn(line, " \t\n")])
            ask(&c, line);
        mem_free(line);
    }
done:
    line_close(lines);
    answer_done(&c.last);
    answer_close(a->source);
    cJSON_Delete(c.messages);
    mem_free(c.model);
    for (int i = 0; i < c.n_kept; i++)
        mem_free(c.kept[i]);
    return code;
}
