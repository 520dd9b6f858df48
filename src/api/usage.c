/* usage: how many tokens and how long, in OpenAI's form and in ours. */
#include "api/gen.h"

void usage_add(struct hearth_usage *to, const struct hearth_usage *of, bool first_of_prompt)
{
    if (first_of_prompt) { /* the choices of one prompt share it */
        to->n_prompt += of->n_prompt;
        to->n_cached += of->n_cached;
    }
    to->n_output += of->n_output;
    to->n_drafted += of->n_drafted;
    to->n_accepted += of->n_accepted;
    to->queue_s = of->queue_s > to->queue_s ? of->queue_s : to->queue_s;
    to->prefill_s = of->prefill_s > to->prefill_s ? of->prefill_s : to->prefill_s;
    to->decode_s = of->decode_s > to->decode_s ? of->decode_s : to->decode_s;
}

void usage_write(struct jsonw *w, const struct hearth_usage *u)
{
    jsonw_obj(w);
    jsonw_kint(w, "prompt_tokens", u->n_prompt);
    jsonw_kint(w, "completion_tokens", u->n_output);
    jsonw_kint(w, "total_tokens", u->n_prompt + u->n_output);
    jsonw_key(w, "prompt_tokens_details");
    jsonw_obj(w);
    jsonw_kint(w, "cached_tokens", u->n_cached);
    jsonw_end_obj(w);
    jsonw_key(w, "completion_tokens_details");
    jsonw_obj(w);
    jsonw_kint(w, "accepted_prediction_tokens", u->n_accepted);
    jsonw_kint(w, "rejected_prediction_tokens", u->n_drafted - u->n_accepted);
    jsonw_end_obj(w);
    jsonw_end_obj(w);
}

static double ms(double s)
{
    return (double)(int64_t)(s * 1e6 + 0.5) / 1e3;
}

void usage_timings(struct jsonw *w, const struct hearth_usage *u)
{
    double rate = u->n_output > 1 && u->decode_s > 0 ? (u->n_output - 1) / u->decode_s : 0;
    jsonw_obj(w);
    jsonw_kdouble(w, "queue_ms", ms(u->queue_s));
    jsonw_kint(w, "prompt_n", u->n_prompt);
    jsonw_kdouble(w, "prompt_ms", ms(u->prefill_s));
    jsonw_kint(w, "cached_n", u->n_cached);
    jsonw_kint(w, "predicted_n", u->n_output);
    jsonw_kdouble(w, "predicted_ms", ms(u->decode_s));
    jsonw_kint(w, "draft_n", u->n_drafted);
    jsonw_kint(w, "draft_n_accepted", u->n_accepted);
    jsonw_kdouble(w, "predicted_per_second", (double)(int64_t)(rate * 1e3 + 0.5) / 1e3);
    jsonw_end_obj(w);
}
