/* test_params: bodies of generation requests -> struct hearth_request, and which of them are refused. */
#include "api/params.h"
#include "base/mem.h"
#include "../check.h"

static struct params q;
static struct problem p;

static int chat(const char *s)
{
    return params_read_chat(s, strlen(s), &q, &p);
}
static int completion(const char *s)
{
    return params_read_completion(s, strlen(s), &q, &p);
}
#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void defaults(void)
{
    CHECK_INT(chat("{" MESSAGES "}"), 0);
    CHECK(q.chat && !q.stream && !q.model && q.n == 1 && q.rq.n == 1 && q.n_prompts == 1);
    CHECK(q.rq.temperature < 0 && q.rq.max_tokens == 0 && q.rq.logprobs == 0 && !q.rq.has_seed && !q.rq.n_stop &&
          !q.rq.n_bias);
    CHECK_STR(q.rq.messages_json, "[{\"role\":\"user\",\"content\":\"hi\"}]");
    params_done(&q);
    CHECK_INT(completion("{\"prompt\":\"x\"}"), 0);
    CHECK(!q.chat && q.rq.max_tokens == 16 && q.n_prompts == 1 && !strcmp(q.prompt[0].text, "x"));
    params_done(&q);
}

static void everything_set(void)
{
    CHECK_INT(
        chat(
            "{" MESSAGES
            ",\"model\":\"m\",\"temperature\":0,\"top_p\":0.5,\"top_k\":-1,\"min_p\":0.1,\"n\":3,\"seed\":-2,\"max_tokens\":5,\"max_completion_tokens\":7,"
            "\"stop\":[\"a\",\"bc\"],\"stream\":true,\"stream_options\":{\"include_usage\":true},\"logprobs\":true,\"top_logprobs\":4,\"presence_penalty\":-1,"
            "\"frequency_penalty\":2,\"repetition_penalty\":1.5,\"logit_bias\":{\"5\":-100,\"0\":3.5},\"ignore_eos\":true,\"unknown\":[1]}"),
        0);
    CHECK(q.rq.temperature == 0 && q.rq.top_p == 0.5f && q.rq.top_k == 0 && q.rq.min_p == 0.1f && q.rq.n == 3 &&
          q.rq.has_seed && q.rq.seed == (uint64_t)-2);
    CHECK(q.rq.max_tokens == 7 && q.rq.n_stop == 2 && !strcmp(q.rq.stop[1], "bc") && q.stream && q.include_usage &&
          q.rq.logprobs == 5);
    CHECK(q.rq.presence_penalty == -1 && q.rq.frequency_penalty == 2 && q.rq.repetition_penalty == 1.5f &&
          q.rq.ignore_eos);
    CHECK(q.rq.n_bias == 2 && q.rq.bias[0].id == 5 && q.rq.bias[0].bias == -100 && q.rq.bias[1].id == 0 &&
          q.rq.bias[1].bias == 3.5f);
    params_done(&q);
    CHECK_INT(chat("{" MESSAGES ",\"top_p\":0,\"stop\":\"x\"}"), 0);
    CHECK(q.rq.top_p > 0 && q.rq.n_stop == 1); /* 0 would mean "off" below */
    params_done(&q);
}

static void refusals_name_the_parameter(void)
{
    static const char *const rows[][2] = {
        {"temperature", "2.5"},
        {"temperature", "\"x\""},
        {"top_p", "1.5"},
        {"n", "0"},
        {"n", "17"},
        {"n", "1.5"},
        {"max_tokens", "0"},
        {"seed", "1.5"},
        {"stop", "[\"\"]"},
        {"stop", "{}"},
        {"logit_bias", "{\"x\":1}"},
        {"logit_bias", "{\"1\":200}"},
        {"stream", "1"},
        {"stream_options", "{}"},
        {"response_format", "{\"type\":\"json_schema\"}"},
        {"tool_choice", "\"required\""},
        {"tools", "[1]"},
        {"top_logprobs", "3"},
        {"audio", "{}"},
        {"modalities", "[\"audio\"]"},
        {"best_of", "2"},
        {"model", "5"},
        {"grammar", "\"root ::= x\""},
        {"top_k", "-2"},
        {"min_p", "2"},
        {"repetition_penalty", "0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char s[300];
        snprintf(s, sizeof s, "{" MESSAGES ",\"%s\":%s}", rows[i][0], rows[i][1]);
        if (chat(s) == 0) {
            fprintf(stderr, "accepted: %s\n", s);
            check_bad++;
            params_done(&q);
            continue;
        }
        CHECK_INT(p.status, 400);
        CHECK_STR(p.param, rows[i][0]);
    }
    CHECK_INT(chat("{"), -1);
    CHECK_STR(p.code, "invalid_json");
    CHECK_INT(chat("{}"), -1);
    CHECK_STR(p.param, "messages");
    CHECK_INT(completion("{\"prompt\":\"x\",\"suffix\":\"y\"}"), -1);
    CHECK_STR(p.param, "suffix");
    CHECK_INT(completion("{\"prompt\":\"x\",\"echo\":true,\"logprobs\":1}"), -1);
    CHECK_STR(p.param, "echo");
    CHECK_INT(completion("{\"prompt\":\"x\",\"logprobs\":21}"), -1);
}

static void prompts(void)
{
    CHECK_INT(completion("{\"prompt\":[\"a\",\"b\"],\"n\":2}"), 0);
    CHECK(q.n_prompts == 2 && !strcmp(q.prompt[1].text, "b") && q.n == 2);
    params_done(&q);
    CHECK_INT(completion("{\"prompt\":[1,2,3]}"), 0);
    CHECK(q.n_prompts == 1 && q.prompt[0].n == 3 && q.prompt[0].ids[2] == 3);
    params_done(&q);
    CHECK_INT(completion("{\"prompt\":[[1,2],[3]]}"), 0);
    CHECK(q.n_prompts == 2 && q.prompt[1].n == 1 && q.prompt[1].ids[0] == 3);
    params_done(&q);
    const char *bad[] = {"5", "[]", "[[]]", "[1.5]", "[-1]", "[1,\"a\"]", "{}", "null", "[9999999999]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char s[100];
        snprintf(s, sizeof s, "{\"prompt\":%s}", bad[i]);
        CHECK_INT(completion(s), -1);
        CHECK_STR(p.param, "prompt");
    }
}

static void messages_as_the_template_gets_them(void)
{
    CHECK_INT(
        chat(
            "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}],\"role\":\"developer\",\"name\":\"n\"},"
            "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1.0}\"}}]},"
            "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"not json\"}}]},{\"role\":\"tool\",\"content\":\"3\",\"tool_call_id\":\"1\"}]}"),
        0);
    CHECK_STR(
        q.messages,
        "[{\"role\":\"system\",\"content\":\"a\\nb\",\"name\":\"n\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\": 1.0}}}]},"
        "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"not json\"}}]},{\"role\":\"tool\",\"content\":\"3\",\"tool_call_id\":\"1\"}]");
    params_done(&q);
    const char *bad[] = {"[]",
                         "5",
                         "[5]",
                         "[{}]",
                         "[{\"role\":\"user\"}]",
                         "[{\"role\":\"x\",\"content\":\"\"}]",
                         "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]",
                         "[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]",
                         "[{\"role\":\"assistant\",\"tool_calls\":{}}]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char s[200];
        snprintf(s, sizeof s, "{\"messages\":%s}", bad[i]);
        CHECK_INT(chat(s), -1);
        CHECK(!strncmp(p.param, "messages", 8));
    }
}

static void tools_go_as_they_came(void)
{
    const char *tools = "[ {\"type\":\"function\", \"function\":{\"name\":\"f\",\"default\":1.0}} ]";
    char s[400];
    snprintf(s, sizeof s, "{" MESSAGES ",\"tools\":%s,\"tool_choice\":\"auto\"}", tools);
    CHECK_INT(chat(s), 0);
    CHECK_STR(q.rq.tools_json, tools);
    params_done(&q);
    snprintf(s, sizeof s, "{" MESSAGES ",\"t\\u006fols\":%s}", tools);
    CHECK_INT(chat(s), 0);
    CHECK(q.rq.tools_json && strstr(q.rq.tools_json, "\"name\":\"f\""));
    params_done(&q);
    snprintf(s, sizeof s, "{" MESSAGES ",\"tools\":%s,\"tool_choice\":\"none\"}", tools);
    CHECK_INT(chat(s), 0);
    CHECK(!q.rq.tools_json);
    params_done(&q);
}

static size_t held, most;
static int budget_reserve(void *arg, size_t n)
{
    (void)arg;
    if (n > 200000)
        return ERR_NOMEM;
    held += n;
    most = held > most ? held : most;
    return 0;
}
static void budget_release(void *arg, size_t n)
{
    (void)arg;
    held -= n;
}

static void trees_are_reserved_first(void)
{
    struct json_budget b = {budget_reserve, budget_release, NULL};
    q = (struct params){.budget = &b};
    CHECK_INT(completion("{\"prompt\":[1,2,3]}"), 0);
    CHECK(held >= 5 * sizeof(cJSON));
    params_done(&q);
    CHECK_INT(held, 0);
    CHECK_INT(completion("{\"prompt\":[1,2,\"x\"]}"), -1);
    CHECK_INT(held, 0);
    size_t n = 20000;
    char *s = malloc(n + 1);
    memset(s, '1', n);
    memcpy(s, "{\"prompt\":[", 11);
    for (size_t i = 12; i < n - 2; i += 2)
        s[i] = ',';
    memcpy(s + n - 3, "1]}", 4);
    CHECK_INT(completion(s), -1); /* 20 kB of text, 800 kB of tree */
    CHECK_INT(p.status, 503);
    CHECK_INT(held, 0);
    free(s);
    q = (struct params){0};
}

static void every_allocation_fails_in_turn(void)
{
    const char *s =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}],\"logit_bias\":{\"1\":1},\"stop\":\"x\",\"tools\":[{\"function\":{}}]}";
    int refused = 0;
    for (long n = 0; n < 40; n++) {
        mem_fail_after(n);
        int rc = chat(s);
        mem_fail_after(-1);
        if (rc == 0) {
            params_done(&q);
            continue;
        }
        CHECK_INT(p.status, 503);
        refused++;
    }
    CHECK(refused >= 3);
}

int main(void)
{
    RUN(defaults);
    RUN(everything_set);
    RUN(refusals_name_the_parameter);
    RUN(prompts);
    RUN(messages_as_the_template_gets_them);
    RUN(tools_go_as_they_came);
    RUN(trees_are_reserved_first);
    RUN(every_allocation_fails_in_turn);
    return check_done();
}
