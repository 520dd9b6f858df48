/* params: the body of a generation request -> struct hearth_request. Every refusal names its parameter. Unknown fields are
 * ignored, except where dropping them would be dishonest (a promised JSON schema, an image): those are refused. */
#ifndef HEARTH_API_PARAMS_H
#define HEARTH_API_PARAMS_H
#include "api/json.h"
#include "api/reply.h"
#include "hearth.h"

enum { PARAMS_MAX_N = 16, PARAMS_MAX_STOP = 16, PARAMS_MAX_CHOICES = 128, PARAMS_MAX_BIAS = 4096 };

struct params_prompt {
    const char *text; /* in the tree; or NULL */
    int32_t *ids;     /* owned */
    size_t n;
};
struct params {
    const struct json_budget *budget; /* NULL, or where tree_bytes are reserved */
    size_t tree_bytes;
    cJSON *root;              /* owns every string below that is not said to be owned */
    const char *model;        /* NULL: the default */
    struct hearth_request rq; /* what all prompts share; points into this struct */
    const char *stop[PARAMS_MAX_STOP];
    struct hearth_bias *bias;     /* owned */
    char *messages, *tools;       /* owned JSON texts of a chat */
    struct params_prompt *prompt; /* owned array, of a completion */
    size_t n_prompts;             /* 1 for a chat */
    int n;                        /* choices per prompt */
    bool chat, stream, include_usage, echo;
};
/* text[len] must be a NUL. out->budget is set by the caller, the rest is zero. On an error *p says why and nothing needs freeing. */
int params_read_chat(const char *text, size_t len, struct params *out, struct problem *p);
int params_read_completion(const char *text, size_t len, struct params *out, struct problem *p);
int params_read_body(const char *text, size_t len, struct params *out,
                     struct problem *p); /* any object: only root and model */
void params_done(struct params *q);

/* For other bodies: absent and null leave *out alone. */
int params_string(const cJSON *o, const char *key, const char **out, struct problem *p);
int params_int(const cJSON *o, const char *key, int lo, int hi, int *out, struct problem *p);
int params_priority(const char *text, int *out,
                    struct problem *p); /* "interactive", "batch", "background", or 0, 1, 2 */
int params_bool(const cJSON *o, const char *key, bool *out, struct problem *p);
int params_ids(const cJSON *array, const char *key, int32_t **ids, size_t *n, struct problem *p);
/* messages.c: checks messages and writes them in the form the template gets; mem_free. */
int messages_read(const cJSON *messages, char **out, struct problem *p);

#endif
