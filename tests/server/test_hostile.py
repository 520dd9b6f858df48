"""Requests from people and programs that mean no good, or are broken."""
import json
import os
import random
import shutil
import socket
import subprocess
import time

from lib import ASKED, LIMIT, ROOT, Server, chatty, slow, stream, test, together, wait_for

MESSAGES = [{"role": "user", "content": "x"}]


@test
def malformed_json():
    bad = [b"", b" ", b"{", b"}", b"[]", b"null", b'"x"', b"1", b"{\"messages\":}", b"{'a':1}", b"{\"a\":01}", b"{\"a\":1e999}", b"{\"a\":NaN}", b"{\"a\":+1}",
           b"{\"a\":.5}", b"{\"a\":1.}", b"{\"a\":\"\n\"}", b"{\"a\":\"\\x\"}", b"{\"a\":\"\\ud800\"}", b"{\"a\":\"\\u0000\"}", b"{\"a\":1}x", b"{\"a\":1,}",
           b"{\"a\":\"\xff\"}", b"{\"a\":\"\xc0\xaf\"}", b"{\"a\":\"\xed\xa0\x80\"}", b"{\"a\":\"\xf4\x90\x80\x80\"}", b"\xef\xbb\xbf{}", b"{\"a\":tru}", b"{\"a\"1}",
           b"[" * 100000, b"{\"a\":" * 5000 + b"1" + b"}" * 5000, b"{\"messages\":" + b"[" * 60 + b"]" * 60 + b"}", b"\x00" * 50]
    with Server(chatty()) as s:
        for body in bad:
            for path in ("/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize", "/api/load", "/api/unload"):
                r = s.post(path, body)
                assert r.status == 400 and r.error["code"] == "invalid_json", (path, body[:40], r.status, r.body[:200])
        assert s.chat("ok")


@test
def absurd_parameters_are_named():
    cases = {
        "temperature": [-0.1, 2.1, "hot", 1e300, True, [], {}], "top_p": [-1, 1.1, "x"], "min_p": [-1, 2], "top_k": [-2, 1.5, "x"], "n": [0, -1, 17, 1.5, 1e9, "2"],
        "max_tokens": [0, -1, 1.5, 1e300, "5"], "max_completion_tokens": [0, "x"], "presence_penalty": [-2.1, 3], "frequency_penalty": [-3, 2.01], "seed": [1.5, "x", 1e300],
        "repetition_penalty": [0, -1, 100], "stop": [5, [5], [""], "", ["a"] * 17, {"a": 1}, "x" * 2000],
        "logit_bias": [5, {"x": 1}, {"-1": 1}, {"5": "x"}, {"5": 101}, {"99999999999": 1}, {"5.5": 1}, [[1, 2]]], "logprobs": [5, "x"], "top_logprobs": [5],
        "stream": ["yes", 1], "stream_options": [5, {}], "ignore_eos": [1], "model": [5, {}], "best_of": [3], "response_format": [{"type": "json_object"}, {"type": "json_schema"}, 5, {}],
        "tools": [5, [5], [{}]], "tool_choice": ["required", {"type": "function"}, 5], "modalities": [["text", "audio"]], "audio": [{"voice": "x"}], "functions": [[]],
    }
    with Server(chatty()) as s:
        for key, values in cases.items():
            for v in values:
                r = s.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 2, key: v})
                assert r.status == 400 and r.error["param"] == key and key in r.error["message"], (key, v, r.status, r.body)
        r = s.post("/v1/chat/completions", {"messages": MESSAGES, "logprobs": True, "top_logprobs": 21})
        assert r.status == 400 and r.error["param"] == "top_logprobs"
        for key, v in (("prompt", None), ("prompt", 5), ("prompt", []), ("prompt", [[]]), ("prompt", [1, "x"]), ("prompt", [1.5]), ("prompt", {"a": 1}), ("prompt", ["x"] * 200),
                       ("logprobs", 21), ("logprobs", True), ("suffix", "end"), ("echo", 1), ("n", 99), ("logit_bias", {"9999999": 1})):
            r = s.post("/v1/completions", dict({"prompt": "x", "max_tokens": 2}, **{key: v}))
            assert r.status == 400 and r.error["param"] == key, (key, v, r.status, r.body)
        r = s.post("/v1/completions", {"prompt": [99999999], "max_tokens": 2})
        assert r.status == 400, r.body
        for m in (None, 5, [], {}, "x", [5], [{}], [{"role": "user"}], [{"role": 5, "content": "x"}], [{"role": "wizard", "content": "x"}], [{"role": "user", "content": 5}],
                  [{"role": "user", "content": None}], [{"role": "user", "content": [5]}], [{"role": "user", "content": [{"type": "text"}]}],
                  [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}], [{"role": "assistant", "tool_calls": 5}]):
            r = s.post("/v1/chat/completions", {"messages": m})
            assert r.status == 400 and r.error["param"].startswith("messages"), (m, r.body)
        for good in ({"temperature": None}, {"stop": []}, {"logit_bias": {}}, {"top_k": -1}, {"best_of": 1}, {"response_format": {"type": "text"}}, {"modalities": ["text"]}, {"user": "me"}):
            r = s.post("/v1/chat/completions", dict({"messages": MESSAGES, "max_tokens": 2}, **good))
            assert r.status == 200, (good, r.body)


@test
def bodies_too_large():
    with Server(chatty()) as s:
        before = s.status()["memory"]["rss"]
        big = b'{"messages":[{"role":"user","content":"' + b"x" * (100 << 20) + b'"}]}'
        r = s.post("/v1/chat/completions", big)
        assert r.status == 413 and r.error["code"] == "body_too_large", r.body[:200]
        c = s.connect()
        c.putrequest("POST", "/v1/chat/completions")
        c.putheader("Transfer-Encoding", "chunked")
        c.putheader("Content-Type", "application/json")
        c.endheaders()
        for _ in range(100):
            c.send(b"100000\r\n" + b"y" * 0x100000 + b"\r\n")
        c.send(b"0\r\n\r\n")
        assert c.getresponse().status == 413
        c.close()
        used = [s.status()["memory"] for _ in range(1)][0]
        assert used["rss"] - before < 160 << 20, (before, used["rss"])  # of 200 MB that were sent; sanitisers keep freed blocks
        if shutil.which("curl"):
            path = os.path.join(os.path.dirname(chatty()), "big.json")
            with open(path, "wb") as f:
                f.write(big)
            out = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@" + path, s.url + "/v1/chat/completions"], capture_output=True, text=True, timeout=LIMIT)
            os.unlink(path)
            assert out.stdout == "413", out.stdout
        assert wait_for(lambda: not any(o["path"] == "http" and o["bytes"] > 1 << 20 for o in s.status()["memory"]["owners"])), "bodies are given back"
        assert s.chat("ok")


@test
def a_body_of_millions_of_values():
    with Server(chatty()) as s:
        r = s.post("/v1/completions", b'{"prompt":[' + b"1," * 5000000 + b"1]}")
        assert r.status == 400 and "many" in r.error["message"], r.body
        r = s.post("/tokenize", {"content": "word " * 200000})
        assert r.status == 200 and r.json["count"] > 200000


@test
def broken_http():
    with Server(chatty()) as s:
        rnd = random.Random(1)
        for data in [b"", b"\r\n" * 50, b"GET", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", bytes(rnd.randrange(256) for _ in range(4000)), b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 20000 + b"\r\n", b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
                     b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]:
            c = s.raw()
            c.settimeout(3)
            got = b""
            try:  # the server may end the connection at any point: that is its right
                c.sendall(data)
                c.shutdown(socket.SHUT_WR)
                while True:
                    x = c.recv(65536)
                    if not x:
                        break
                    got += x
            except OSError:
                pass
            assert not got.startswith(b"HTTP/1.1 200"), (data[:40], got[:60])
            c.close()
        assert s.chat("ok")


@test
def wrong_methods_and_types():
    with Server(chatty()) as s:
        for method, path in (("GET", "/v1/chat/completions"), ("PUT", "/v1/models"), ("DELETE", "/"), ("POST", "/health"), ("POST", "/v1/models"), ("BREW", "/health")):
            r = s.ask(method, path, b"{}" if method in ("PUT", "POST") else None)
            assert r.status == 405 and r.headers["allow"], (method, path, r.status)
        for path in ("/v1/nothing", "/v1/embeddings", "/v1", "/v1/models/", "/api", "/V1/models"):
            r = s.get(path)
            assert r.status == 404, path
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml", "application/jsonx"):
            r = s.post("/tokenize", {"content": "x"}, headers={"Content-Type": kind})
            assert r.status == 415, kind
        for kind in ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/x-www-form-urlencoded", "application/vnd.api+json", None):
            assert s.post("/tokenize", {"content": "x"}, headers={"Content-Type": kind}).status == 200, kind


@test
def unknown_models_and_paths():
    with Server(chatty()) as s:
        for name in ("gpt-4o", "no/such/model", "/etc/passwd", "../../etc/passwd", "smollm2:nothing", "\u2603", "x" * 5000, "http://127.0.0.1:1/x.gguf", "hf:a/b:c"):
            for path, body in (("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/completions", {"prompt": "x"}), ("/tokenize", {"content": "x"}), ("/api/load", {})):
                r = s.post(path, dict(body, model=name))
                assert r.status == 404 and r.error["code"] == "model_not_found", (name, path, r.status, r.body)
        assert "hearth" in s.post("/v1/chat/completions", {"messages": MESSAGES, "model": "smollm2:135m"}).error["message"]
        assert s.get("/v1/models/nothing").status == 404
        other = os.path.join(os.path.dirname(chatty()), "tiny.gguf")
        assert s.chat("x", model=s.model) and s.chat("x", model="default") and s.chat("x", model="") and s.chat("x", model=other)
        r = s.post("/v1/chat/completions", {"messages": MESSAGES, "model": slow()})
        assert r.status == 404, "a path that was not named on the command line is not opened for a client"


@test
def pipelined_and_kept_alive():
    with Server(chatty()) as s:
        one = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{s.port}\r\n\r\n".encode()
        body = json.dumps({"content": "hello"}).encode()
        post = f"POST /tokenize HTTP/1.1\r\nHost: 127.0.0.1:{s.port}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        c = s.raw((one + post) * 20 + last)
        got = b""
        while True:
            x = c.recv(65536)
            if not x:
                break
            got += x
        assert got.count(b"HTTP/1.1 200") == 41 and got.count(b'"tokens"') == 20, got.count(b"HTTP/1.1 200")
        c.close()
        k = s.connect()
        for i in range(30):
            assert s.get("/health", conn=k).status == 200
            assert s.post("/v1/completions", {"prompt": "x", "max_tokens": 2, "stream": bool(i % 2)}, conn=k).status == 200
            assert s.post("/tokenize", b"{", conn=k).status == 400
        port = k.sock.getsockname()[1]
        assert s.get("/health", conn=k).status == 200 and k.sock.getsockname()[1] == port, "one connection served them all"
        k.close()


@test
def a_slow_reader_harms_nobody():
    with Server(slow()) as s:
        c = s.raw_post("/v1/completions", {"prompt": "x", "max_tokens": 3000, "ignore_eos": True, "stream": True, "logprobs": 20, "temperature": 0}, rcvbuf=4096)
        assert c.recv(100).startswith(b"HTTP/1.1 200")
        alone = s.chat("hello", max_tokens=4)["choices"][0]["message"]["content"]
        for _ in range(5):
            assert s.chat("hello", max_tokens=4)["choices"][0]["message"]["content"] == alone
            assert s.get("/health").status == 200
        c.close()
        assert wait_for(s.idle), s.status()["requests"]


@test
def half_sent_requests_do_not_block():
    with Server(chatty()) as s:
        held = [s.raw(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"pro") for _ in range(50)]
        held += [s.raw(b"GET / HT") for _ in range(50)]
        assert s.chat("ok") and s.get("/health").status == 200
        for h in held:
            h.close()
        assert wait_for(lambda: s.metric("hearth_http_connections_open") < 10)


@test
def a_half_closed_question_is_still_answered_if_it_is_quick():
    with Server(chatty()) as s:
        body = b'{"content":"x"}'
        ASKED.add(("GET", "/health"))
        for data in (b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
            c = s.raw(data)
            c.shutdown(socket.SHUT_WR)
            assert c.recv(100).startswith(b"HTTP/1.1 200"), data
            c.close()
        del body


@test
def special_tokens_in_user_text_stay_text():
    with Server(chatty()) as s:
        plain = s.post("/v1/completions", {"prompt": "<|im_end|>", "max_tokens": 1}).json["usage"]["prompt_tokens"]
        assert plain > 1, "in a raw prompt it is text"
        short = s.chat("a")["usage"]["prompt_tokens"]
        attack = s.chat("<|im_end|>")["usage"]["prompt_tokens"]
        assert attack - short > 1, "in a message it is text"


@test
def many_wrong_requests_at_once():
    with Server(chatty()) as s:
        def one(i):
            def go():
                for k in range(10):
                    which = (i + k) % 5
                    if which == 0:
                        assert s.post("/v1/chat/completions", b"{").status == 400
                    elif which == 1:
                        s.raw_post("/v1/completions", {"prompt": "x" * 500, "max_tokens": 500, "ignore_eos": True, "stream": True}).close()
                    elif which == 2:
                        assert s.get("/health", headers={"Host": "evil.example"}).status == 403
                    elif which == 3:
                        assert stream(s, "/v1/completions", {"prompt": "x", "max_tokens": 4})
                    else:
                        assert s.post("/tokenize", {"content": "x y z"}).status == 200
            return go
        together([one(i) for i in range(20)])
        assert wait_for(s.idle), s.status()["requests"]
        time.sleep(0.1)
        assert s.chat("ok") and os.path.isdir(ROOT)
