/* metrics: GET /metrics, Prometheus text format 0.0.4. */
#include "api/models.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "engine/engine.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct buf *b, const char *name, const char *type, const char *help, double v)
{
    head(b, name, type, help);
    buf_printf(b, "%s %.15g\n", name, v);
}

static void label(struct buf *b, const char *s) /* a label's value, quoted */
{
    buf_char(b, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buf_char(b, '\\');
        if (*s == '\n')
            buf_str(b, "\\n");
        else
            buf_char(b, *s);
    }
    buf_char(b, '"');
}

static void write_engine(struct api *a, struct buf *b)
{
    struct engine_stats s;
    engine_stats(hearth_engine(a->h), &s);
    one(b, "hearth_requests_running", "gauge", "Sequences in the batch.", s.n_running);
    one(b, "hearth_requests_waiting", "gauge", "Sequences waiting for a place in the batch.", s.n_waiting);
    one(b, "hearth_waiting_prompt_tokens", "gauge", "Their prompt tokens.", (double)s.waiting_tokens);
    one(b, "hearth_refused_total", "counter", "Requests refused because the queue was full.",
        (double)(s.refused_total + atomic_load(&a->meter.refused)));
    one(b, "hearth_timeout_total", "counter", "Sequences whose time was over.", (double)s.timeout_total);
    one(b, "hearth_models_resident", "gauge", "Models in memory.", s.n_models);
    one(b, "hearth_sequences_total", "counter", "Sequences submitted to the engine.", (double)s.requests_total);
    one(b, "hearth_cancelled_total", "counter", "Sequences cancelled.", (double)s.cancelled_total);
    one(b, "hearth_preempted_total", "counter",
        "Sequences that gave their memory or place to others and went on later.", (double)s.preempted_total);
    one(b, "hearth_prefix_lookups_total", "counter", "Prompts looked up in the prefix cache.",
        (double)s.prefix_lookups_total);
    one(b, "hearth_prefix_hits_total", "counter", "Prompts of which a beginning was found.",
        (double)s.prefix_hits_total);
    one(b, "hearth_prefix_hit_tokens_total", "counter", "Prompt tokens that were not computed again.",
        (double)s.prefix_hit_tokens_total);
    one(b, "hearth_prefix_evicted_total", "counter", "Blocks that left the prefix cache.",
        (double)s.prefix_evicted_total);
    one(b, "hearth_prefix_blocks", "gauge", "Blocks kept by the prefix cache alone.", (double)s.prefix_blocks);
    one(b, "hearth_prefix_bytes", "gauge", "Their bytes.", (double)s.prefix_bytes);
    one(b, "hearth_kv_disk_bytes", "gauge", "Bytes of the cache's disk tier.", (double)s.disk_bytes);
    one(b, "hearth_kv_disk_read_total", "counter", "Blocks read back from it.", (double)s.disk_read_total);
    one(b, "hearth_kv_disk_written_total", "counter", "Blocks written to it.", (double)s.disk_written_total);
    one(b, "hearth_kv_disk_bad_total", "counter", "Blocks and ends of files found not whole, and dropped.",
        (double)s.disk_bad_total);
    one(b, "hearth_prompt_tokens_total", "counter", "Prompt tokens computed.", (double)s.tokens_prompt_total);
    one(b, "hearth_output_tokens_total", "counter", "Tokens generated.", (double)s.tokens_output_total);
    one(b, "hearth_draft_tokens_total", "counter", "Tokens guessed ahead and run.", (double)s.drafted_total);
    one(b, "hearth_draft_accepted_total", "counter", "Guesses that were right.", (double)s.accepted_total);
    one(b, "hearth_steps_total", "counter", "Steps of the engine.", (double)s.steps_total);
    one(b, "hearth_rests_total", "counter", "Times that a step stopped in its middle to see to others.",
        (double)s.rests_total);
    one(b, "hearth_given_up_total", "counter", "Times that such a step was begun anew, for who came or left.",
        (double)s.given_up_total);
    one(b, "hearth_step_seconds_total", "counter", "Time in steps.", s.step_s_total);
    one(b, "hearth_busy_seconds_total", "counter", "Time the engine had work.", s.busy_s_total);
    one(b, "hearth_cancel_last_seconds", "gauge", "The last cancelled sequence: from the wish to its release.",
        s.cancel_last_s);
    one(b, "hearth_cancel_max_seconds", "gauge", "The slowest of these.", s.cancel_max_s);
}

static void write_memory(struct api *a, struct buf *b)
{
    enum { ROWS = 64 };
    struct ledger *l = hearth_ledger(a->h);
    struct ledger_row rows[ROWS];
    size_t used, n = ledger_list(l, rows, ROWS, &used);
    one(b, "hearth_memory_ceiling_bytes", "gauge", "The most Hearth may reserve.", (double)ledger_ceiling(l));
    struct hearth_pressure p;
    hearth_pressure(a->h, &p);
    one(b, "hearth_memory_limit_bytes", "gauge", "What the machine's memory allows now; at most the ceiling.",
        (double)p.limit);
    one(b, "hearth_memory_pressure", "gauge", "0 none, 1 the limit is below the ceiling, 2 it is falling.",
        !strcmp(p.level, "none")   ? 0
        : !strcmp(p.level, "some") ? 1
                                   : 2);
    one(b, "hearth_models_evicted_total", "counter", "Models that left because memory was needed.", (double)p.evicted);
    one(b, "hearth_memory_reserved_bytes", "gauge", "Reserved by all owners.", (double)used);
    one(b, "hearth_memory_peak_bytes", "gauge", "The most that was ever reserved.", (double)ledger_peak(l));
    one(b, "process_resident_memory_bytes", "gauge", "Resident memory of the process.", (double)cpu_rss());
    head(b, "hearth_memory_owner_bytes", "gauge", "Reserved by each owner.");
    for (size_t i = 0; i < n && i < ROWS; i++) {
        buf_str(b, "hearth_memory_owner_bytes{owner=");
        label(b, rows[i].path);
        buf_printf(b, "} %zu\n", rows[i].bytes);
    }
}

static void write_models(struct api *a, struct buf *b)
{
    struct model_row *rows = NULL;
    size_t n = 0;
    if (models_list(a, &rows, &n))
        b->failed = true;
    head(b, "hearth_model_state", "gauge", "1 for the state each model is in.");
    for (size_t i = 0; rows && i < n; i++) {
        buf_str(b, "hearth_model_state{model=");
        label(b, rows[i].name);
        buf_printf(b, ",state=\"%s\"} 1\n", rows[i].state);
    }
    head(b, "hearth_model_bytes", "gauge", "Memory of each resident model.");
    for (size_t i = 0; rows && i < n; i++)
        if (rows[i].resident) {
            buf_str(b, "hearth_model_bytes{model=");
            label(b, rows[i].name);
            buf_printf(b, "} %" PRIu64 "\n", rows[i].bytes);
        }
    head(b, "hearth_model_running", "gauge", "Requests of each resident model.");
    for (size_t i = 0; rows && i < n; i++) {
        if (!rows[i].resident)
            continue;
        buf_str(b, "hearth_model_running{model=");
        label(b, rows[i].name);
        buf_printf(b, "} %d\n", rows[i].running);
    }
    mem_free(rows);
}

/* labels: "" or `route="x",` */
static void write_histogram(struct buf *b, const char *name, const char *labels, struct meter_histogram *h)
{
    uint64_t sum = 0;
    for (int i = 0; i < METER_BUCKETS; i++) {
        sum += atomic_load(&h->count[i]);
        buf_printf(b, "%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name, labels, meter_bound[i], sum);
    }
    sum += atomic_load(&h->count[METER_BUCKETS]);
    buf_printf(b, "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, sum);
    size_t n = strlen(labels);
    int keep = n ? (int)n - 1 : 0; /* without the comma */
    buf_printf(b, "%s_sum%s%.*s%s %.6f\n", name, n ? "{" : "", keep, labels, n ? "}" : "",
               (double)atomic_load(&h->sum_us) / 1e6);
    buf_printf(b, "%s_count%s%.*s%s %" PRIu64 "\n", name, n ? "{" : "", keep, labels, n ? "}" : "", sum);
}

static void write_http(struct api *a, struct buf *b)
{
    struct http_stats s;
    http_stats(a->http, &s);
    one(b, "hearth_http_connections_total", "counter", "Connections accepted.", (double)s.connections);
    one(b, "hearth_http_connections_open", "gauge", "Connections open now.", s.open_connections);
    one(b, "hearth_http_requests_open", "gauge", "Requests being read or answered.", s.open_requests);
    one(b, "hearth_http_received_bytes_total", "counter", "Bytes of request bodies.", (double)s.bytes_in);
    one(b, "hearth_http_sent_bytes_total", "counter", "Bytes of answers.", (double)s.bytes_out);
    one(b, "hearth_http_gone_total", "counter", "Clients that left before their answer was complete.", (double)s.gone);
    one(b, "hearth_http_dropped_total", "counter", "Clients that did not read and were dropped.", (double)s.dropped);
    head(b, "hearth_http_requests_total", "counter", "Requests by route and class of status.");
    for (size_t i = 0; routes_at(i); i++)
        for (int c = 0; c < 6; c++) {
            uint64_t n = atomic_load(&a->meter.status[i][c]);
            if (n)
                buf_printf(b, "hearth_http_requests_total{route=\"%s\",status=\"%s\"} %" PRIu64 "\n",
                           routes_at(i)->name, (const char *[]){"none", "1xx", "2xx", "3xx", "4xx", "5xx"}[c], n);
        }
    head(b, "hearth_http_request_seconds", "histogram", "From the headers to the end of the answer.");
    for (size_t i = 0; routes_at(i); i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "route=\"%s\",", routes_at(i)->name);
        write_histogram(b, "hearth_http_request_seconds", labels, &a->meter.latency[i]);
    }
}

enum route_result metrics_get(struct api *a, struct http_req *r)
{
    struct buf b = {0};
    one(&b, "hearth_uptime_seconds", "gauge", "Since the server started.", (double)(clock_ns() - a->start_ns) * 1e-9);
    head(&b, "hearth_build_info", "gauge", "1; the version is the label.");
    buf_printf(&b, "hearth_build_info{version=\"%s\"} 1\n", HEARTH_VERSION);
    write_engine(a, &b);
    write_memory(a, &b);
    write_models(a, &b);
    head(&b, "hearth_time_to_first_token_seconds", "histogram", "From the request to its first token.");
    write_histogram(&b, "hearth_time_to_first_token_seconds", "", &a->meter.ttft);
    head(&b, "hearth_queue_seconds", "histogram", "Waiting for a place in the batch.");
    write_histogram(&b, "hearth_queue_seconds", "", &a->meter.queue);
    write_http(a, &b);
    if (b.failed) {
        reply_json(a, r, 503, &b);
        return ROUTE_ANSWERED;
    }
    struct reply y = {.status = 200, .type = "text/plain; version=0.0.4; charset=utf-8", .body = b.data, .len = b.len};
    reply_send(a, r, &y);
    buf_done(&b);
    return ROUTE_ANSWERED;
}
