"""Who stays in memory, who waits, and what happens when there is no more: keep-alive, priorities, deadlines, full queues, pressure."""
import os
import subprocess
import sys
import time

import lib
from lib import Server, Skip, chatty, slow, test, tiny, together, wait_for
from test_load import install


def small(name, seed):
    return tiny(name, "--family", "llama", "--template", "default", "--ctx", "4096", "--seed", str(seed))


def heavy(name, seed):
    """62 MB in memory: enough to make others leave."""
    return tiny(name, "--family", "llama", "--template", "default", "--ctx", "4096", "--layers", "6", "--embd", "512", "--ff", "1024", "--seed", str(seed))


def ready(s):
    return {m["name"] for m in s.status()["models"] if m["state"] == "ready"}


@test
def keep_alive_of_requests_models_and_the_server():
    with Server(chatty(), args=["--keep-alive", "2h"]) as s:
        install(s, small("alpha", 3), "alpha:1")
        install(s, small("beta", 4), "beta:1")
        assert {m["name"]: m["keep_alive"] for m in s.status()["models"]}[s.model] == 7200
        assert s.post("/api/load", {"model": "alpha:1", "keep_alive": -1}).status == 200
        s.chat("x", model="beta:1", keep_alive="1s")
        rows = {m["name"]: m for m in s.status()["models"]}
        assert rows["alpha:1"]["keep_alive"] == -1 and rows["beta:1"]["keep_alive"] == 1, rows
        assert wait_for(lambda: "beta:1" not in ready(s), 60) and {"alpha:1", s.model} <= ready(s)
        s.chat("x", model="alpha:1", keep_alive=0)  # at once
        assert wait_for(lambda: "alpha:1" not in ready(s), 60) and s.model in ready(s)
        for bad in ("soon", "5x", [], True, 1e12):
            r = s.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "keep_alive": bad})
            assert r.status == 400 and r.error["param"] == "keep_alive", (bad, r.body)


@test
def priority_and_timeout():
    with Server(slow()) as s:
        for body, param in (({"priority": "urgent"}, "priority"), ({"priority": 7}, "priority"), ({"timeout": 0}, "timeout"), ({"timeout": "5"}, "timeout")):
            r = s.post("/v1/completions", dict(body, prompt="x", max_tokens=1))
            assert r.status == 400 and r.error["param"] == param, r.body
        for body in ({"priority": "batch"}, {"priority": 2}, {"timeout": 60}):
            assert s.post("/v1/completions", dict(body, prompt="x", max_tokens=1)).status == 200, body
        assert s.post("/v1/completions", {"prompt": "x", "max_tokens": 1}, headers={"X-Hearth-Priority": "background"}).status == 200
        assert s.post("/v1/completions", {"prompt": "x", "max_tokens": 1}, headers={"X-Hearth-Priority": "never"}).status == 400
        r = s.post("/v1/completions", {"prompt": "x", "max_tokens": 60000, "ignore_eos": True, "timeout": 0.3})
        assert r.status == 504 and r.error["code"] == "timeout" and "0.3 s" in r.error["message"], r.body
        assert wait_for(s.idle, 60)
        assert s.status()["totals"]["timed_out"] == 1


@test
def a_full_queue_refuses_before_the_body_is_read():
    with Server(slow()) as s:
        # The last ones singly: a request of 64 that would overfill the queue is refused whole and leaves it short of full.
        held = [s.raw_post("/v1/completions", {"prompt": ["x"] * n, "max_tokens": 50000, "ignore_eos": True}) for n in [64] * 12 + [1] * 64]
        assert wait_for(lambda: s.status()["requests"]["waiting"] >= 512, 60)
        c = s.raw(f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{s.port}\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n".encode())
        got = c.recv(4000)  # without a byte of the body
        assert got.startswith(b"HTTP/1.1 429"), got
        retry = [x for x in got.split(b"\r\n") if x.lower().startswith(b"retry-after:")]
        assert retry and 1 <= int(retry[0].split(b":")[1]) <= 60, got
        for x in held + [c]:
            x.close()
        assert wait_for(s.idle, 120)
        assert s.status()["totals"]["refused"] >= 1 and s.chat("ok", max_tokens=2)


@test
def two_models_in_the_place_of_one_take_turns():
    with Server(chatty(), args=["--ceiling", "120M"]) as s:  # each takes 62 MB
        for name, seed in (("one", 1), ("two", 2)):
            install(s, heavy(name, seed), f"{name}:1")
        fit = {n: s.post("/api/fit", {"model": f"{n}:1", "ctx": 256}).json for n in ("one", "two")}
        assert all(f["fits"] for f in fit.values()) and sum(f["total"] for f in fit.values()) > 110 << 20, fit
        answers = together([lambda n=n: s.chat("hello", model=f"{n}:1", max_tokens=8)["model"] for n in ("one", "two") * 8])
        assert sorted(answers) == ["one:1"] * 8 + ["two:1"] * 8
        m = s.status()["memory"]
        assert m["peak"] <= m["ceiling"], m
        assert wait_for(s.idle)
        alone = s.chat("hello", model="one:1", max_tokens=8)["choices"]
        assert alone == s.chat("hello", model="one:1", max_tokens=8)["choices"]
        c = s.raw_post("/v1/completions", {"model": "one:1", "prompt": "x", "max_tokens": 3500, "ignore_eos": True, "stream": True})
        assert wait_for(lambda: s.metric("hearth_requests_running") > 0, 60)
        begun = time.monotonic()
        for _ in range(6):  # a time that is over while the model waits for memory is noticed then, not at the next full second
            r = s.post("/v1/completions", {"model": "two:1", "prompt": "x", "max_tokens": 1, "timeout": 0.2})
            assert r.status == 504 and "waited for its model" in r.error["message"], (r.status, r.body)
        assert time.monotonic() - begun < 4.5
        c.close()
        assert wait_for(s.idle, 60)


def a_handful():
    """Four models as {name: file}: the smallest real ones that the cache has, and others of that kind."""
    real = [n for n in ("smollm2-135m", "gemma3-270m") if os.path.exists(os.path.join(lib.CACHE, "models", n + ".gguf"))]
    files = {n: os.path.join(lib.CACHE, "models", n + ".gguf") for n in real}
    for seed in range(4 - len(real)):
        files[f"heavy-{seed}"] = heavy(f"heavy-{seed}", seed)
    return files


def long_answer(s, name, i):
    r = s.post("/v1/completions", {"model": name, "prompt": f"{i} and the story goes on like this: " * (1 + 6 * i), "max_tokens": 12,
                                   "temperature": 0, "logprobs": 2, "ignore_eos": True})
    assert r.status == 200, r.body
    return r.json["choices"]


@test
def four_models_at_once_and_in_the_place_of_two():
    """Every request succeeds with the very answer it gets alone, whether all are resident or come and go, and the ceiling holds."""
    files, asked = a_handful(), 2
    with Server() as s:
        for name, path in files.items():
            install(s, path, name)
        alone = {(n, i): long_answer(s, n, i) for n in files for i in range(asked)}
        fits = [s.post("/api/fit", {"model": n, "ctx": 1024, "parallel": 2}).json for n in files]
        program = next(o["bytes"] for o in s.status()["memory"]["owners"] if o["path"] == "program")
    totals = sorted(f["total"] for f in fits)
    load = max(f["load"] for f in fits)
    for held, must_leave in ((totals, False), (totals[-2:], True)):
        with Server(args=["--ceiling", str(program + sum(held) + load + (16 << 20))]) as s:
            for name, path in files.items():
                install(s, path, name)
            jobs = [(n, i) for i in range(asked) for n in files]
            assert together([lambda n=n, i=i: long_answer(s, n, i) for n, i in jobs]) == [alone[j] for j in jobs]
            m = s.status()["memory"]
            assert m["peak"] <= m["ceiling"] and (m["models_evicted"] > 0) == must_leave, m


@test
def a_request_waits_for_the_room_that_a_busy_model_holds():
    """Both models are resident, and the one's work lasts: a request that needs the other's room is taken in and waits for it."""
    ask = {"prompt": "x", "ignore_eos": True, "stream": True}
    with Server(chatty()) as s:
        for name, seed in (("one", 1), ("two", 2)):
            install(s, heavy(name, seed), f"{name}:1")
        fit = s.post("/api/fit", {"model": "one:1", "ctx": 4000}).json
        idle = sum(fit[k] for k in ("weights", "scratch", "header", "text"))
        program = next(o["bytes"] for o in s.status()["memory"]["owners"] if o["path"] == "program")
    with Server(args=["--ceiling", str(program + 2 * idle + fit["load"] + (16 << 20))]) as s:
        for name, seed in (("one", 1), ("two", 2)):
            install(s, heavy(name, seed), f"{name}:1")

        def waiting(n):
            return s.status()["requests"]["waiting"] == s.metric("hearth_requests_waiting") == n

        def begin():
            """The busy one, and two who wait; None: its work was over before that was seen."""
            for name in ("one:1", "two:1"):
                assert s.post("/api/load", {"model": name}).status == 200
            c = [s.raw_post("/v1/completions", dict(ask, model="one:1", max_tokens=1900))]
            assert wait_for(lambda: s.metric("hearth_requests_running") == 1, 60)
            c += [s.raw_post("/v1/completions", dict(ask, model="two:1", max_tokens=3900)) for _ in "ab"]
            if wait_for(lambda: waiting(2), 1):
                return c
            for x in c:
                x.close()
            assert wait_for(s.idle, 60)
            return None

        busy, left, stays = next(filter(None, (begin() for _ in range(20))))
        left.close()
        assert wait_for(lambda: waiting(1) or waiting(0), 60)
        busy.close()
        got = b""
        while b"data: {" not in got:
            more = stays.recv(4000)
            assert more, got
            got += more
        assert got.startswith(b"HTTP/1.1 200") and b'"text"' in got, got
        stays.close()
        assert ready(s) == {"two:1"} and wait_for(s.idle, 60)
        m = s.status()["memory"]
        assert m["peak"] <= m["ceiling"] and m["models_evicted"] >= 1, m


@test
def status_and_metrics_tell_of_memory():
    with Server(chatty()) as s:
        m = s.status()["memory"]
        assert m["limit"] <= m["ceiling"] and m["pressure"] in ("none", "some", "high") and m["machine_left"] > 0, m
        assert s.metric("hearth_memory_limit_bytes") <= s.metric("hearth_memory_ceiling_bytes")
        assert s.metric("hearth_memory_pressure") in (0, 1, 2)
        row = next(x for x in s.status()["models"] if x["name"] == s.model)
        assert row["keep_alive"] == -1 and row["users"] == 0 and row["value"] >= 0 and not row["waiting"], row
        assert s.get("/v1/models").json["data"][0]["status"] == {"value": "loaded", "progress": 1, "waits_for_memory": False}
        long = {"prompt": "once upon a time " * 40, "max_tokens": 2}
        assert s.post("/v1/completions", long).status == s.post("/v1/completions", long).status == 200
        cache = s.status()["prefix_cache"]
        assert cache["lookups"] >= 2 and cache["hits"] <= cache["lookups"], cache


# ---- real pressure: a control group stands for the machine, so that eating memory endangers nobody else ----

class Group:
    """A memory control group of its own, v2 or v1; Skip where none can be made."""

    def __init__(self, limit):
        self.path = None
        for root, limit_file in (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")):
            own = self.own(root)
            path = os.path.join(own, f"hearth-test-{os.getpid()}") if own else None
            try:
                if not path:
                    continue
                os.mkdir(path)
                if not os.path.exists(os.path.join(path, limit_file)):
                    os.rmdir(path)
                    continue
                self.path, self.v2 = path, root == "/sys/fs/cgroup"
                self.write(limit_file, str(limit))
                if self.v2 and os.path.exists(os.path.join(path, "memory.swap.max")):
                    self.write("memory.swap.max", "0")
                return
            except OSError:
                self.close()
        raise Skip("no memory control group can be made here")

    @staticmethod
    def own(root):
        """The group of this process under root, or None when root is no such hierarchy."""
        if root == "/sys/fs/cgroup" and not os.path.exists(root + "/cgroup.controllers"):
            return None
        for line in open("/proc/self/cgroup", encoding="ascii"):
            names, path = line.rstrip("\n").split(":", 2)[1:]
            if (names == "") == (root == "/sys/fs/cgroup") and (names == "" or "memory" in names.split(",")):
                at = root + path.rstrip("/")
                return at if os.path.isdir(at) else root
        return None

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as f:
            f.write(text)

    def killed(self):
        """How often the kernel killed somebody in it."""
        name = "memory.events" if self.v2 else "memory.oom_control"
        words = dict(x.split()[:2] for x in open(os.path.join(self.path, name), encoding="ascii") if len(x.split()) == 2)
        return int(words.get("oom_kill", 0))

    def enter(self, pid):
        self.write("cgroup.procs", str(pid))

    def close(self):
        if self.path:
            wait_for(lambda: not open(os.path.join(self.path, "cgroup.procs"), encoding="ascii").read(), 20)
            os.rmdir(self.path)
        self.path = None


EATER = """
import sys, time
held = []
for line in sys.stdin:  # so many MiB more, touched
    b = bytearray(int(line) << 20)
    for i in range(0, len(b), 4096):
        b[i] = 1
    held.append(b)
    print(len(held), flush=True)
"""


class Grouped(Server):
    """A server that was born in a group: its ceiling follows it."""

    def __init__(self, group, *models, **kw):
        super().__init__(*models, **kw)
        self.group = group

    def __enter__(self):
        real, wrapper = lib.BIN, os.path.join(self.home, "born-in-group")
        with open(wrapper, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\necho $$ > "{self.group.path}/cgroup.procs"\nexec "{real}" "$@"\n')
        os.chmod(wrapper, 0o700)
        lib.BIN = wrapper
        try:
            return super().__enter__()
        finally:
            lib.BIN = real


@test
def in_a_small_group_it_is_never_killed():
    group = Group(200 << 20)
    try:
        with Grouped(group, chatty()) as s:
            names = [f"m{i}:1" for i in range(6)]
            for i, n in enumerate(names):
                install(s, heavy(f"m{i}", i), n)
            m = s.status()["memory"]
            assert m["ceiling"] < 200 << 20, m

            def one(i):
                out = []
                for k in range(3):
                    r = s.post("/v1/completions", {"model": names[(i + k) % 6], "prompt": "word " * (20 + 17 * (i % 9)), "max_tokens": 24,
                                                   "ignore_eos": True, "temperature": 0})
                    out.append(r.status)
                return out

            statuses = sum(together([lambda i=i: one(i) for i in range(64)]), [])
            assert set(statuses) == {200}, statuses  # new work waits
            assert s.p.poll() is None and group.killed() == 0
            m = s.status()["memory"]
            assert m["peak"] <= m["ceiling"], m
    finally:
        group.close()


@test
def when_another_process_eats_memory_it_makes_way():
    group = Group(560 << 20)
    eater = None
    try:
        with Grouped(group, chatty()) as s:
            names = [f"m{i}:1" for i in range(3)]
            for i, n in enumerate(names):
                install(s, heavy(f"m{i}", i), n)
                assert s.post("/api/load", {"model": n}).status == 200
            before = s.status()["memory"]
            assert len(ready(s)) == 4 and before["pressure"] == "none", before
            eater = subprocess.Popen([sys.executable, "-c", EATER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            group.enter(eater.pid)

            def eat(mib):
                eater.stdin.write(f"{mib}\n")
                eater.stdin.flush()
                return eater.stdout.readline()

            while len(ready(s)) == 4:
                assert eat(10), "the eater was killed before anybody made way"
                time.sleep(0.05)
            m = s.status()["memory"]
            assert m["limit"] < m["ceiling"] and m["used"] < before["used"] and m["models_evicted"] > 0, m
            assert m["pressure"] in ("high", "some"), m
            assert s.p.poll() is None and group.killed() == 0
            eater.kill()
            eater.wait()
            assert wait_for(lambda: s.status()["memory"]["pressure"] == "none", 120)
            assert s.chat("still there", model=names[0], max_tokens=4)["choices"]
    finally:
        if eater and eater.poll() is None:
            eater.kill()
            eater.wait()
        group.close()
