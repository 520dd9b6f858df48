"""What answers look like: shapes, streaming, stop, n, logprobs, seeds, limits of parameters."""
import json
import time

from lib import Server, Skip, chatty, slow, stream, test, tiny, wait_for


def text_of(chunks, choice=0):
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"] and c["choices"][0]["index"] == choice)


MESSAGES = [{"role": "user", "content": "Say something."}]


def same_tokens(a, b):
    """What is cached or guessed may differ from one time to the next; what was read and said may not."""
    return all(a[k] == b[k] for k in ("prompt_tokens", "completion_tokens", "total_tokens"))


@test
def chat_whole_and_streamed_are_equal():
    with Server(chatty()) as s:
        body = {"messages": MESSAGES, "max_tokens": 24, "temperature": 0}
        whole = s.post("/v1/chat/completions", body).json
        assert whole["object"] == "chat.completion" and whole["model"] == s.model and whole["id"].startswith("chatcmpl-")
        c = whole["choices"][0]
        assert c["index"] == 0 and c["message"]["role"] == "assistant" and c["finish_reason"] in ("stop", "length"), c
        u = whole["usage"]
        assert u["total_tokens"] == u["prompt_tokens"] + u["completion_tokens"] and u["prompt_tokens"] > 0
        t = whole["timings"]
        assert t["predicted_n"] == u["completion_tokens"] and t["prompt_n"] == u["prompt_tokens"] and t["prompt_ms"] > 0 and t["queue_ms"] >= 0
        chunks = stream(s, "/v1/chat/completions", dict(body, stream_options={"include_usage": True}))
        assert text_of(chunks) == c["message"]["content"]
        first = chunks[0]["choices"][0]
        assert first["delta"]["role"] == "assistant" and first["delta"]["content"] != "", "the role comes with the first text, never before"
        assert all("role" not in k["choices"][0]["delta"] for k in chunks[1:] if k["choices"])
        assert len({k["id"] for k in chunks}) == 1
        assert [k["choices"][0]["finish_reason"] for k in chunks if k["choices"]][-1] == c["finish_reason"]
        assert chunks[-1]["choices"] == [] and same_tokens(chunks[-1]["usage"], u) and chunks[-1]["timings"]["predicted_n"] == u["completion_tokens"]
        assert all(k["usage"] is None for k in chunks[:-1])
        without = stream(s, "/v1/chat/completions", body)
        assert all(k["choices"] for k in without) and all("usage" not in k for k in without) and "timings" in without[-1]


@test
def one_token_is_one_chunk():
    with Server(chatty()) as s:
        chunks = stream(s, "/v1/completions", {"prompt": "a", "max_tokens": 50, "temperature": 0, "ignore_eos": True, "logprobs": 0})
        texts = [c for c in chunks if c["choices"][0]["finish_reason"] is None]
        tokens = [len((c["choices"][0]["logprobs"] or {"tokens": []})["tokens"]) for c in texts]  # the end may flush half a character
        assert sum(tokens) == 50, tokens
        assert sum(n == 1 for n in tokens) >= 25, f"tokens per chunk: {tokens}"  # some wait for the rest of a character


@test
def stop_strings_are_cut_and_never_shown():
    with Server(chatty()) as s:
        full = s.post("/v1/completions", {"prompt": "once", "max_tokens": 60, "temperature": 0, "ignore_eos": True}).json["choices"][0]["text"]
        assert len(full) > 12
        for at in range(2, len(full) - 4, max(1, len(full) // 12)):
            stop = full[at:at + 3]
            want = full[:full.index(stop)]
            for kind in (stop, ["never in there \u2603", stop]):
                r = s.post("/v1/completions", {"prompt": "once", "max_tokens": 60, "temperature": 0, "ignore_eos": True, "stop": kind}).json["choices"][0]
                assert r["text"] == want and r["finish_reason"] == "stop", (stop, r["text"], want)
            chunks = stream(s, "/v1/completions", {"prompt": "once", "max_tokens": 60, "temperature": 0, "ignore_eos": True, "stop": stop})
            assert "".join(c["choices"][0]["text"] for c in chunks) == want


@test
def several_choices():
    with Server(chatty()) as s:
        body = {"messages": MESSAGES, "n": 4, "max_tokens": 12, "temperature": 1.5, "seed": 7}
        a, b = s.post("/v1/chat/completions", body).json, s.post("/v1/chat/completions", body).json
        texts = [c["message"]["content"] for c in a["choices"]]
        assert [c["index"] for c in a["choices"]] == [0, 1, 2, 3]
        assert texts == [c["message"]["content"] for c in b["choices"]], "the same seed gives the same answers"
        assert len(set(texts)) > 1
        alone = s.post("/v1/chat/completions", dict(body, n=1, seed=8)).json["choices"][0]["message"]["content"]
        assert alone == texts[1], "choice i is what seed + i gives alone"
        assert a["usage"]["completion_tokens"] <= 48 and a["usage"]["prompt_tokens"] < 48
        chunks = stream(s, "/v1/chat/completions", body)
        assert [text_of(chunks, i) for i in range(4)] == texts
        assert sorted(c["choices"][0]["index"] for c in chunks if c["choices"][0]["finish_reason"]) == [0, 1, 2, 3]


@test
def several_prompts_and_token_ids():
    with Server(chatty()) as s:
        body = {"max_tokens": 6, "temperature": 0}
        many = s.post("/v1/completions", dict(body, prompt=["one", "two", "three"], n=2)).json
        assert len(many["choices"]) == 6 and many["object"] == "text_completion"
        for i, word in enumerate(["one", "two", "three"]):
            alone = s.post("/v1/completions", dict(body, prompt=word)).json["choices"][0]["text"]
            ids = s.post("/tokenize", {"prompt": word}).json["tokens"]
            assert many["choices"][2 * i]["text"] == many["choices"][2 * i + 1]["text"] == alone
            assert s.post("/v1/completions", dict(body, prompt=ids)).json["choices"][0]["text"] == alone
            assert s.post("/v1/completions", dict(body, prompt=[ids])).json["choices"][0]["text"] == alone
            assert s.post("/v1/completions", dict(body, prompt=word, echo=True)).json["choices"][0]["text"] == word + alone
            streamed = stream(s, "/v1/completions", dict(body, prompt=word, echo=True))
            assert "".join(c["choices"][0]["text"] for c in streamed) == word + alone
        assert len(s.post("/v1/completions", {"prompt": "x", "temperature": 0, "ignore_eos": True, "logprobs": 0}).json["choices"][0]["logprobs"]["tokens"]) == 16


@test
def logprobs_of_both_shapes():
    with Server(chatty()) as s:
        body = {"messages": MESSAGES, "max_tokens": 10, "temperature": 0, "ignore_eos": True}
        whole = s.post("/v1/chat/completions", dict(body, logprobs=True, top_logprobs=5)).json["choices"][0]
        items = whole["logprobs"]["content"]
        assert len(items) == 10
        for it in items:
            assert len(it["top_logprobs"]) == 5 and it["logprob"] <= 0
            lps = [t["logprob"] for t in it["top_logprobs"]]
            assert lps == sorted(lps, reverse=True) and it["logprob"] == lps[0], "greedy takes the first"
        assert b"".join(bytes(it["bytes"]) for it in items).decode("utf-8", "replace") == whole["message"]["content"]
        got = [it for c in stream(s, "/v1/chat/completions", dict(body, logprobs=True, top_logprobs=5)) for it in ((c["choices"][0]["logprobs"] or {}).get("content") or [])]
        assert got == items
        plain = s.post("/v1/chat/completions", dict(body, logprobs=True)).json["choices"][0]["logprobs"]["content"]
        assert [p["logprob"] for p in plain] == [i["logprob"] for i in items] and all(p["top_logprobs"] == [] for p in plain)
        assert s.post("/v1/chat/completions", body).json["choices"][0]["logprobs"] is None
        legacy = s.post("/v1/completions", {"prompt": "x", "max_tokens": 8, "temperature": 0, "logprobs": 3, "ignore_eos": True}).json["choices"][0]["logprobs"]
        assert set(legacy) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"} and all(len(v) == 8 for v in legacy.values())
        assert legacy["text_offset"][0] == 0 and legacy["text_offset"] == sorted(legacy["text_offset"])


@test
def sampling_parameters_do_what_they_say():
    with Server(chatty()) as s:
        def go(**kw):
            return s.post("/v1/completions", dict({"prompt": "q", "max_tokens": 20, "temperature": 0, "ignore_eos": True, "logprobs": 0}, **kw)).json["choices"][0]

        greedy = go()
        assert go(temperature=2, top_k=1, seed=3)["text"] == greedy["text"]
        assert go(temperature=2, top_p=0, seed=3)["text"] == greedy["text"]
        assert go(temperature=2, min_p=1, seed=3)["text"] == greedy["text"]
        hot = [go(temperature=2, seed=i)["text"] for i in range(4)]
        assert len(set(hot)) > 1 and hot[2] == go(temperature=2, seed=2)["text"]
        assert go(temperature=2, seed=-5)["text"] == go(temperature=2, seed=-5)["text"]
        ids = s.post("/tokenize", {"content": greedy["text"]}).json["tokens"]
        ban = {str(i): -100 for i in range(3, 40)}
        banned = go(logit_bias=ban)
        toks = s.post("/tokenize", {"content": banned["text"]}).json["tokens"]
        assert banned["text"] != greedy["text"] or not set(ids) & set(range(3, 40)), toks
        forced = go(logit_bias={"65": 100}, max_tokens=3)
        assert len(set(forced["logprobs"]["tokens"])) == 1, forced
        for k, v in (("frequency_penalty", 2), ("presence_penalty", 2), ("repetition_penalty", 2), ("repeat_penalty", 2)):
            assert len(set(go(**{k: v}, max_tokens=60)["logprobs"]["tokens"])) >= len(set(go(max_tokens=60)["logprobs"]["tokens"])), k


@test
def max_tokens_and_its_other_name():
    with Server(chatty()) as s:
        for k in ("max_tokens", "max_completion_tokens"):
            r = s.post("/v1/chat/completions", {"messages": MESSAGES, k: 5, "temperature": 0, "ignore_eos": True}).json
            assert r["usage"]["completion_tokens"] == 5 and r["choices"][0]["finish_reason"] == "length"


@test
def too_long_a_prompt_is_refused_with_the_numbers():
    with Server(chatty()) as s:
        e = s.post("/v1/completions", {"prompt": [5] * 5000})
        assert e.status == 400 and e.error["code"] == "context_length_exceeded", e.body
        assert "5000" in e.error["message"] and "4096" in e.error["message"]
        e = s.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "long words here " * 5000}]})
        assert e.status == 400 and e.error["code"] == "context_length_exceeded" and e.error["param"] == "messages"
        assert s.chat("still here")["choices"]


@test
def messages_in_every_shape():
    with Server(chatty()) as s:
        same = s.chat("hello there")["choices"][0]["message"]["content"]
        parts = s.post("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello there"}]}], "max_tokens": 8, "temperature": 0})
        assert parts.json["choices"][0]["message"]["content"] == same
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
        history = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                   {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                   {"role": "tool", "tool_call_id": "1", "content": "42"}, {"role": "user", "content": "and?"}]
        for extra in ({}, {"tools": tools}, {"tools": tools, "tool_choice": "auto"}, {"tools": tools, "tool_choice": "none"}):
            r = s.post("/v1/chat/completions", dict({"messages": history, "max_tokens": 4}, **extra))
            assert r.status == 200, r.body
        r = s.post("/v1/chat/completions", {"messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": "y", "name": "z"}], "max_tokens": 4, "an_unknown_field": 1})
        assert r.status == 200, r.body


@test
def a_model_without_a_template_only_completes():
    with Server(tiny("base", "--family", "qwen2", "--template", "", "--ctx", "4096")) as s:
        r = s.post("/v1/chat/completions", {"messages": MESSAGES})
        assert r.status == 400 and "template" in r.error["message"], r.body
        assert s.post("/v1/completions", {"prompt": "x", "max_tokens": 3}).status == 200
        assert s.status()["models"][0]["chat"] is False


@test
def tokens_there_and_back():
    with Server(chatty()) as s:
        text = "Hello, wörld! \u2603 line\nline"
        a = s.post("/tokenize", {"content": text}).json
        assert a["count"] == len(a["tokens"]) > 0
        back = s.post("/detokenize", {"tokens": a["tokens"]}).json
        assert back["prompt"] == back["content"] == text, back
        b = s.post("/tokenize", {"prompt": text, "add_special_tokens": False}).json
        assert b["tokens"] == a["tokens"]
        c = s.post("/tokenize", {"messages": MESSAGES})
        assert c.status == 200 and c.json["count"] > 0
        for bad in ({}, {"content": 5}, {"tokens": 1}):
            assert s.post("/tokenize", bad).status == 400
        for bad in ({}, {"tokens": "x"}, {"tokens": ["x"]}, {"tokens": [1.5]}, {"tokens": [-1]}, {"tokens": [99999999]}):
            r = s.post("/detokenize", bad)
            assert r.status == 400, (bad, r.body)
        assert s.post("/detokenize", {"tokens": []}).json["content"] == ""


@test
def what_status_health_metrics_and_models_say():
    with Server(chatty()) as s:
        h = s.get("/health")
        assert h.status == 200 and h.json == {"status": "ok"}
        s.chat("hello")
        st = s.status()
        assert st["default_model"] == s.model and st["memory"]["used"] == sum(o["bytes"] for o in st["memory"]["owners"])
        assert st["memory"]["ceiling"] >= st["memory"]["used"] > 0 and st["memory"]["rss"] > 0
        m = st["models"][0]
        assert m["state"] == "ready" and m["default"] and m["resident"] and m["chat"] is True and m["n_ctx"] == 4096
        assert any(o["path"].startswith(f"model/{s.model}/") for o in st["memory"]["owners"])
        assert st["totals"]["output_tokens"] >= 1
        assert wait_for(lambda: s.status()["requests"]["list"] == []), "the answer is out, its request soon let go"
        text = s.get("/metrics").body.decode()
        seen = set()
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                assert line.split()[2] not in seen, line
                seen.add(line.split()[2])
            elif not line.startswith("#"):
                name = line.split("{")[0].split()[0]
                base = name
                for end in ("_bucket", "_sum", "_count"):
                    base = base[:-len(end)] if base.endswith(end) and base[:-len(end)] in seen else base
                assert base in seen, line
                float(line.split()[-1])
        assert 'hearth_http_requests_total{route="chat",status="2xx"} 1' in text
        assert "hearth_time_to_first_token_seconds_count 1" in text
        listed = s.get("/v1/models").json
        assert listed["object"] == "list" and listed["data"][0]["id"] == s.model and listed["data"][0]["max_model_len"] == 4096
        assert s.get("/v1/models/" + s.model).json["id"] == s.model
        head = s.ask("HEAD", "/v1/models")
        assert head.status == 200 and head.body == b"" and int(head.headers["content-length"]) > 10


@test
def health_answers_while_a_model_loads():
    with Server(slow(), ready=False) as s:
        for _ in range(20):
            assert s.get("/health").status == 200
        r = s.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 2})
        assert r.status == 200, r.body  # waited for the load


@test
def a_silent_stream_gives_signs_of_life():
    with Server(slow()) as s:
        words = {"prompt": "words and more words " * 4000, "max_tokens": 2, "stream": True}
        c = s.raw_post("/v1/completions", words)
        got = b""
        while b": keep-alive\n\n" not in got and b"data: " not in got:
            x = c.recv(65536)
            assert x, got[-300:]
            got += x
        c.close()
        assert got.startswith(b"HTTP/1.1 200"), got
        if b": keep-alive\n\n" not in got:
            raise Skip("this machine reads the prompt in less than five seconds")


@test
def the_page_is_there():
    with Server(chatty()) as s:
        page = s.get("/")
        assert page.status == 200 and page.headers["content-type"].startswith("text/html") and b"<html" in page.body
        assert "default-src 'none'" in page.headers["content-security-policy"] and page.headers["x-content-type-options"] == "nosniff"
        assert s.get("/", headers={"If-None-Match": page.headers["etag"]}).status == 304
        packed = s.get("/", headers={"Accept-Encoding": "gzip"})
        assert packed.headers.get("content-encoding") == "gzip" and len(packed.body) < len(page.body)
        assert s.ask("HEAD", "/").status == 200
        for junk in ("/index.htm", "/../etc/passwd", "/%2e%2e/etc/passwd", "/js/", "/js/nothing.js"):
            assert s.get(junk).status == 404, junk


@test
def temperature_defaults_do_not_change_by_stream():
    with Server(chatty()) as s:
        body = {"messages": MESSAGES, "seed": 11, "max_tokens": 16}
        assert text_of(stream(s, "/v1/chat/completions", body)) == s.post("/v1/chat/completions", body).json["choices"][0]["message"]["content"]
        started = time.time()
        assert abs(json.loads(s.post("/v1/chat/completions", body).body)["created"] - started) < 60
