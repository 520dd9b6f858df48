"""A client that goes away: its work stops, in every phase. No test measures time; each waits generously for the count to fall."""
import json
import os
import socket
import struct
import time

from lib import Server, chatty, slow, test, wait_for

LONG = "many words that fill a prompt " * 1500


def leave(sock, how):
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half":
        sock.shutdown(socket.SHUT_WR)
    else:
        sock.close()


def phases(s):
    return [x["phase"] for x in s.status()["requests"]["list"]]


def cancelled(s, sock, how, before):
    leave(sock, how)
    assert wait_for(s.idle, 60), (how, s.status()["requests"])
    assert s.metric("hearth_cancelled_total") > before, how
    sock.close()


@test
def while_decoding():
    with Server(slow()) as s:
        for streamed in (True, False):
            for how in ("close", "reset", "half"):
                before = s.metric("hearth_cancelled_total")
                c = s.raw_post("/v1/completions", {"prompt": "x", "max_tokens": 50000, "ignore_eos": True, "stream": streamed})
                assert wait_for(lambda: "decode" in phases(s), 60), phases(s)
                cancelled(s, c, how, before)


@test
def while_in_prefill():
    with Server(slow()) as s:
        for how in ("close", "reset"):
            before = s.metric("hearth_cancelled_total")
            c = s.raw_post("/v1/completions", {"prompt": LONG, "max_tokens": 50000, "ignore_eos": True, "stream": True})
            assert wait_for(lambda: s.metric("hearth_requests_running") + s.metric("hearth_requests_waiting") > 0, 60)
            assert "prefill" in phases(s)
            cancelled(s, c, how, before)


@test
def while_waiting_in_the_queue():
    with Server(slow()) as s:
        held = [s.raw_post("/v1/completions", {"prompt": LONG[:2000], "max_tokens": 50000, "ignore_eos": True}) for _ in range(70)]
        assert wait_for(lambda: s.metric("hearth_requests_running") + s.metric("hearth_requests_waiting") >= 70, 120)
        for c in held[::-1]:
            leave(c, "close")
        assert wait_for(s.idle, 120), s.status()["requests"]
        assert s.chat("next", max_tokens=2)


@test
def several_choices_and_prompts_all_stop():
    with Server(slow()) as s:
        before = s.metric("hearth_cancelled_total")
        c = s.raw_post("/v1/completions", {"prompt": ["a", "b", "c"], "n": 3, "max_tokens": 50000, "ignore_eos": True, "stream": True})
        assert wait_for(lambda: s.metric("hearth_requests_running") == 9, 60)
        cancelled(s, c, "close", before + 8)


@test
def while_its_model_loads():
    with Server(slow(), ready=False) as s:
        c = s.raw_post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 50000, "ignore_eos": True})
        wait_for(lambda: s.status()["requests"]["list"], 5)
        leave(c, "close")
        assert wait_for(s.idle, 60)
        assert s.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2}).status == 200


@test
def one_clients_cancel_stops_nobody_else():
    with Server(slow()) as s:
        body = {"prompt": "stay", "max_tokens": 40, "temperature": 0, "ignore_eos": True}
        alone = s.post("/v1/completions", body).json["choices"][0]["text"]
        stay = s.raw_post("/v1/completions", body)
        go = [s.raw_post("/v1/completions", {"prompt": "go", "max_tokens": 50000, "ignore_eos": True, "stream": True}) for _ in range(6)]
        assert wait_for(lambda: s.metric("hearth_requests_running") >= 3, 60)
        for c in go:
            leave(c, "reset")
        got = b""
        while b"timings" not in got:
            x = stay.recv(65536)
            assert x, got
            got += x
        assert json.loads(got.split(b"\r\n\r\n", 1)[1])["choices"][0]["text"] == alone
        stay.close()
        assert wait_for(s.idle, 60)


@test
def memory_comes_back():
    with Server(chatty()) as s:
        s.chat("warm")

        def used():  # without what is kept of the prompts and answers themselves, as it should be
            memory = s.status()["memory"]
            return memory["used"] - sum(o["bytes"] for o in memory["owners"] if o["path"].endswith("/prefix"))

        before = used()
        for _ in range(5):
            c = s.raw_post("/v1/completions", {"prompt": "x" * 300, "max_tokens": 3000, "ignore_eos": True, "stream": True})
            c.recv(10)
            leave(c, "close")
        assert wait_for(s.idle, 60)
        assert wait_for(lambda: used() <= before + (1 << 18), 30), s.status()["memory"]


@test
def sigterm_ends_running_answers():
    with Server(slow()) as s:
        held = [s.raw_post("/v1/completions", {"prompt": "x", "max_tokens": 50000, "ignore_eos": True, "stream": k % 2 == 0}) for k in range(6)]
        assert wait_for(lambda: "decode" in phases(s), 60)
        start = time.monotonic()
        s.p.terminate()
        assert s.p.wait(60) == 0
        assert time.monotonic() - start < 60
        for c in held:
            try:
                while c.recv(65536):
                    pass
            except OSError:
                pass
            c.close()
    assert not os.path.exists(s.home)
