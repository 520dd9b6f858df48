"""What the files of this suite share: a server under test, raw HTTP without a client library's helpfulness, the list of tests."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("HEARTH_BIN") or os.path.join(ROOT, "build/hearth")
CACHE = os.environ.get("HEARTH_CACHE") or os.path.expanduser("~/.cache/hearth-test")
WORK = tempfile.mkdtemp(prefix="hearth-server-")
LIMIT = 300  # generous: the machine may be busy
TESTS = []
ASKED = set()  # (method, path) of every request a test made: a route nobody asks is a failure


class Skip(Exception):
    pass


def test(fn):
    TESTS.append(fn)
    return fn


def tiny(name, *args):
    path = os.path.join(WORK, name + ".gguf")
    if not os.path.exists(path):
        subprocess.run([sys.executable, os.path.join(ROOT, "tests/tools/tiny_gguf.py"), "--out", path, *args], check=True, stdout=subprocess.DEVNULL)
    return path


def chatty():
    """Answers at once, whatever it says."""
    return tiny("tiny", "--family", "llama", "--template", "default", "--ctx", "4096")


def slow():
    """Takes seconds for a long prompt or a long answer."""
    return tiny("slow", "--family", "llama", "--template", "default", "--ctx", "65536", "--layers", "6", "--embd", "512", "--ff", "1024")


def wait_for(what, seconds=LIMIT, step=0.05):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(step)
    return False


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        e = self.json["error"]
        assert set(e) == {"message", "type", "param", "code"}, e
        return e


class Server:
    """`hearth up` on a free port; `with Server(model) as s`. A folder given as home outlives the server."""

    def __init__(self, *models, args=(), key=None, ready=True, env=None, home=None):
        self.models, self.args, self.key, self.ready = models, list(args), key, ready
        self.home, self.own_home = home or tempfile.mkdtemp(prefix="home-", dir=WORK), not home
        self.env = dict(os.environ, HEARTH_HOME=self.home, **(env or {}))

    def __enter__(self):
        self.killed = False
        cmd = [BIN, "up", "--port", "0", "--no-open", *self.args]
        for m in self.models:
            cmd += ["--model", m]
        self.log = open(os.path.join(self.home, "stderr"), "w+", encoding="utf-8", errors="replace")
        self.p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=self.log, text=True, env=self.env)
        line = self.p.stdout.readline()
        m = re.match(r"Hearth is up: (http://[^ ]+:(\d+))\s*$", line)
        if not m:
            self.p.kill()
            raise AssertionError(f"no URL line: {line!r}; {self.stderr()}")
        self.url, self.port = m.group(1), int(m.group(2))
        if self.ready and self.models:
            assert wait_for(lambda: any(x["state"] == "ready" for x in self.status()["models"])), self.stderr()
            self.model = [x["name"] for x in self.status()["models"] if x["state"] == "ready"][0]
        return self

    def kill(self):
        """As the kernel or a user would: SIGKILL."""
        self.killed = True
        self.p.kill()

    def __exit__(self, kind, *rest):
        self.p.send_signal(signal.SIGTERM)
        try:
            rc = self.p.wait(30)
        except subprocess.TimeoutExpired:
            self.p.kill()
            rc = "still running 30 s after SIGTERM"
        err = self.stderr()
        self.log.close()
        self.p.stdout.close()
        if self.own_home:
            shutil.rmtree(self.home, ignore_errors=True)
        if kind is None and not self.killed:
            assert rc == 0, f"the server ended with {rc}: {err}"
        elif rc != 0 and not self.killed:
            print(f"     the server ended with {rc}: {err}")

    def stderr(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()[-3000:]

    def connect(self, timeout=LIMIT):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, conn=None):
        ASKED.add((method, path))
        c = conn or self.connect()
        h = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if body is not None:
            h["Content-Type"] = "application/json"
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        h.update(headers or {})
        c.request(method, path, body, {k: v for k, v in h.items() if v is not None})
        r = c.getresponse()
        reply = Reply(r.status, dict((k.lower(), v) for k, v in r.getheaders()), r.read())
        if not conn:
            c.close()
        return reply

    def get(self, path, **kw):
        return self.ask("GET", path, **kw)

    def post(self, path, body, **kw):
        return self.ask("POST", path, body, **kw)

    def chat(self, text, **kw):
        r = self.post("/v1/chat/completions", dict({"messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0}, **kw))
        assert r.status == 200, r.body
        return r.json

    def raw(self, data=b"", rcvbuf=None):
        s = socket.socket()
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.settimeout(LIMIT)
        s.connect(("127.0.0.1", self.port))
        s.sendall(data)
        return s

    def raw_post(self, path, body, **kw):
        data = json.dumps(body).encode()
        ASKED.add(("POST", path))
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        return self.raw(head.encode() + data, **kw)

    def status(self):
        return self.get("/api/status").json

    def metric(self, name):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        raise KeyError(name)

    def idle(self):
        return self.metric("hearth_requests_running") == 0 and self.metric("hearth_requests_waiting") == 0 and not self.status()["requests"]["list"]


def events(reply_body):
    """The data of each server-sent event."""
    out = []
    for block in reply_body.decode().split("\n\n"):
        lines = [x[6:] for x in block.splitlines() if x.startswith("data: ")]
        if lines:
            out.append("\n".join(lines))
    return out


def stream(server, path, body):
    r = server.post(path, dict(body, stream=True))
    assert r.status == 200, r.body
    assert r.headers["content-type"].startswith("text/event-stream"), r.headers
    ev = events(r.body)
    assert ev[-1] == "[DONE]", ev[-1]
    return [json.loads(x) for x in ev[:-1]]


def together(fns):
    """Runs all at once; the first exception is raised."""
    out, bad = [None] * len(fns), []

    def one(i):
        try:
            out[i] = fns[i]()
        except BaseException as e:  # noqa: BLE001 - handed to the caller
            bad.append(e)

    ts = [threading.Thread(target=one, args=(i,)) for i in range(len(fns))]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    if bad:
        raise bad[0]
    return out
