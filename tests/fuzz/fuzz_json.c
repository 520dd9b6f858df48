/* fuzz_json: bodies of chat and completion requests. What the strict check accepts cJSON must read, and what was read must be
 * freed; the parameters of whatever is accepted lie in their ranges. */
#include "api/params.h"
#include <stdlib.h>
#include <string.h>

static void check(const struct params *q)
{
    const struct hearth_request *r = &q->rq;
    if (r->n < 1 || r->n > PARAMS_MAX_N || r->max_tokens < 0 || r->logprobs < 0 || r->logprobs > 21 ||
        r->n_stop > PARAMS_MAX_STOP)
        abort();
    if (!(r->temperature <= 2) || !(r->top_p >= 0 && r->top_p <= 1) ||
        (q->chat && json_check(q->messages, strlen(q->messages), NULL, NULL)))
        abort();
    if (q->tools && (q->tools[0] != '[' || json_check(q->tools, strlen(q->tools), NULL, NULL)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct params q = {0};
    struct problem p;
    struct err e;
    cJSON *root = NULL;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    if (json_check(text, size, NULL, &e) == 0 && text[strspn(text, " \t\r\n")] == '{' &&
        json_read(text, size, &root, &e) != 0)
        abort();
    cJSON_Delete(root);
    if (params_read_chat(text, size, &q, &p) == 0) {
        check(&q);
        params_done(&q);
    }
    if (params_read_completion(text, size, &q, &p) == 0) {
        check(&q);
        params_done(&q);
    }
    free(text);
    return 0;
}
