/* api: the HTTP API in front of one `struct hearth`: the door of the room.
 *
 * Owns: routes, JSON in and out, server-sent events, who may ask (Host, Origin, key), which request waits for which load.
 * Not: sockets (http), text and tokens (session), memory (ledger).
 *
 * Routes (route.c is the table; GET /api/routes lists it):
 *   GET  /                      the page; its files under the paths of assets.h
 *   GET  /health                {"status":"ok"} at once, also while models load; needs no key
 *   GET  /metrics               Prometheus text
 *   GET  /v1/models, /v1/models/{id}
 *   POST /v1/chat/completions, /v1/completions
 *   POST /tokenize, /detokenize (vLLM's `prompt` and llama.cpp's `content` are both taken, and both answered)
 *   GET  /api/status, /api/routes
 *   POST /api/load {"model"}    answers when the model is ready; /api/unload {"model"}
 *   POST /api/fit {"model","ctx","parallel"}   what it would take and who would have to go: the fields of struct hearth_fit
 *
 * GET /api/status, one object for `hearth ps` and the page's strip:
 *   {"version", "url", "pid", "uptime_s", "default_model" (null if none),
 *    "memory":   {"ceiling", "limit" (what the machine allows now), "pressure": "none"|"some"|"high", "machine_left" (or its group), "stalled_some",
 *                 "stalled_full" (%, or null), "models_evicted", "used", "free", "peak", "rss",
 *                 "owners": [{"path", "bytes"}]}                                                    bytes, largest owner first
 *    "models":   [{"name", "state": "ready"|"loading"|"unloading"|"installed", "resident": bool, "default": bool, "family",
 *                  "quant", "bytes" (memory if resident, else file), "n_ctx", "running", "progress" 0..1, "waiting" (for memory), "load_s",
 *                  "users", "keep_alive" (seconds, -1 for ever, null on disk), "value" (of its staying),
 *                  "last_used" (unix seconds, 0 never), "chat" (bool, null if not known yet), "good_for"}]
 *    "requests": {"running", "waiting", "waiting_tokens", "loading", "list": [{"id", "model", "phase": "loading"|"prefill"|"decode", "stream",
 *                  "age_s", "prompt_tokens", "output_tokens"}]}   running/waiting: the engine's; prefill includes the queue
 *    "speed":    {"tokens_per_s" (output over the last seconds, all requests), "last_tokens_per_s", "last_ttft_ms"} null if none
 *    "prefix_cache": {"blocks", "bytes", "lookups", "hits", "hit_tokens", "missed_tokens"}
 *    "totals":   {"requests", "cancelled", "refused", "timed_out", "preempted", "prompt_tokens", "output_tokens"}}
 *
 * Extensions of OpenAI's requests, all optional: "keep_alive" (seconds or "5m", -1 for ever, 0 at once: how long the model stays after
 * this), "priority" ("interactive", "batch", "background"; or the header X-Hearth-Priority), "timeout" (seconds; then 504). A full
 * queue answers 429 with Retry-After before the body is read; batch work is refused so when 3/4 of the places are taken, background
 * work at half: the others are kept for what is more urgent. A model that gets no memory in time: 503 with Retry-After.
 *
 * Extension of OpenAI's replies: the final reply (streams: the usage chunk, or the last chunk without include_usage) carries
 *   "timings": {"queue_ms", "prompt_n", "prompt_ms", "cached_n", "predicted_n", "predicted_ms", "predicted_per_second"}
 * prompt_ms is the time to the first token less queue_ms; predicted_per_second counts the tokens after the first.
 */
#ifndef HEARTH_API_API_H
#define HEARTH_API_API_H
#include "hearth.h"

struct api;
struct api_opts {
    const char *host;    /* NULL: loopback, 127.0.0.1 and ::1; anything else but loopback demands api_key */
    int port;            /* 0: any free one */
    const char *api_key; /* NULL: none asked for */
    const char *const *allow_origins; /* further origins that may call from a browser: "https://chat.example" */
    size_t n_allow_origins;
    const char *const *models; /* names or paths to load from the start; the first is the default model */
    size_t n_models;
    size_t body_max;     /* bytes of one request's body; 0: 32 MiB */
    int max_connections; /* 0: 512 */
    int stall_s;         /* a client that reads nothing for so long is dropped; 0: 30 */
};
/* Whether api_start would refuse the host and the key: to be asked before long work, such as a download. */
int api_check(const struct api_opts *o, struct err *e);
/* Listens when it returns; models load in the background (a failure is logged and tried again by the next request for it). */
int api_start(struct api **out, struct hearth *h, const struct api_opts *o, struct err *e);
const char *api_url(const struct api *a); /* "http://127.0.0.1:11000" */
/* Refuses new connections, lets running answers end for up to drain_ms, then cancels the rest. NULL is fine. */
void api_stop(struct api *a, int drain_ms);

#endif
