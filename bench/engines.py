"""engines: the programs that peers.py compares, each as a process that stays up and answers one request after another."""
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import peer_build


def memory_mib(pid):
    """Peak resident memory of a process."""
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float("nan")


class Server:
    """hearth up: the whole product, with sampler and HTTP; timings are its own. It guesses no tokens: the peer does not either."""
    name = "hearth"

    def __init__(self, binary, path, threads, *more):
        self.model = path
        models = [x for p in (path, *more) for x in ("--model", p)]
        self.p = subprocess.Popen([binary, "up", "--port", "0", "--no-open", *models, "--threads", str(threads), "--no-spec"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.p.stdout.readline().decode()
        if not line.startswith("Hearth is up: "):
            sys.exit("peers: Hearth did not start; see why with: hearth up --port 0 --no-open")
        self.url = line.split()[-1]

    def body(self, prompt, n, **more):
        return json.dumps({"model": self.model, "prompt": prompt, "max_tokens": n, "temperature": 0, "ignore_eos": True, **more}).encode()

    def complete(self, prompt, n):
        q = urllib.request.Request(self.url + "/v1/completions", self.body(prompt, n), {"Content-Type": "application/json"})
        with urllib.request.urlopen(q, timeout=600) as r:
            return json.load(r)["timings"]

    def first_ms(self, prompt):
        """Wall time from the request to the first streamed event, connection included."""
        body, host = self.body(prompt, 2, stream=True), urllib.parse.urlparse(self.url).netloc
        a = time.perf_counter()
        c = http.client.HTTPConnection(host, timeout=60)
        c.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        r = c.getresponse()
        while b'"text"' not in r.readline():
            pass
        b = time.perf_counter()
        r.read()
        c.close()
        return (b - a) * 1e3

    def stop(self):
        self.p.terminate()
        self.p.wait()


class Lines:
    """A process that answers one line of JSON for each line."""

    def __init__(self, name, args):
        self.name = name
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.hello = self.read()

    def read(self):
        line = self.p.stdout.readline()
        if not line:
            sys.exit(f"peers: {self.name} died: {' '.join(self.p.args)}")
        return json.loads(line)

    def ask(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return self.read()

    def stop(self):
        self.p.stdin.close()
        self.p.wait()


class Sweep(Lines):
    """hearth bench sweep --ask: the backend alone, as llama-bench and llama-batched-bench are."""

    def __init__(self, binary, path, threads, batch=1, name="hearth"):
        super().__init__(name, [binary, "bench", "sweep", path, "--ask", "--json", "--reps", "1", "--threads", str(threads), "--batch", str(batch)])

    def speed(self, test):
        return self.ask(test)["tokens_per_s"]


class Peer(Lines):
    def __init__(self, python, variant, path, threads):
        kind = "wheel" if variant == "wheel" else "native"
        super().__init__("llama.cpp " + variant, [python, peer_build.CHILD, kind, path, str(threads)])

    def complete(self, prompt, n):
        return self.ask(json.dumps({"prompt": prompt, "n": n}))

    def together(self, prompt, n, batch):
        return self.ask(json.dumps({"prompt": prompt, "n": n, "batch": batch}))["seconds"]


class PeerServer(Lines):
    """xllamacpp's own HTTP server for one model."""

    def __init__(self, python, path, threads, slots, slot_ctx):
        super().__init__("xllamacpp", [python, peer_build.CHILD, "serve", path, str(threads), str(slots), str(slot_ctx)])
        self.url = self.hello["url"]


def disk_gb_s(path, threads=2):
    """Direct reads of a whole file, in 8 MiB pieces shared by `threads`."""
    import mmap
    import threading
    piece, size = 8 << 20, os.path.getsize(path)
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECT", 0))

    def work(first):
        buf = mmap.mmap(-1, piece)
        for at in range(first * piece, size, threads * piece):
            os.preadv(fd, [buf], at)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    a = time.perf_counter()
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    b = time.perf_counter()
    os.close(fd)
    return size / (b - a) / 1e9
