#!/usr/bin/env python3
"""bench/peers.py: Hearth beside llama.cpp on the same file, the same machine, the same minute.

Both serve the model with the same number of threads and answer the same requests of random token ids: a prompt of 512 tokens
(pp512) and 64 tokens after a short prompt (tg64). Rounds are interleaved and the order changes every round, because a shared
machine's speed drifts; what counts is the ratio of the medians. Both sides' own timings are used (no HTTP, no tokeniser).

    bench/peers.py                                  qwen2.5-coder 0.5b and 1.5b, 5 rounds, 2 threads
    bench/peers.py --models smollm2:135m --rounds 9 --json
    bench/peers.py --native                         llama-cpp-python compiled on this machine instead of the prebuilt wheel

The peer lives in a virtual environment of its own (.cache/venv-peers), made on first use. The prebuilt wheel is 7 to 25 %
slower than a native build on some models: a record needs --native (its compilation takes about 12 minutes on two cores)."""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import urllib.request
import venv

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WHEEL, NATIVE = "xllamacpp==2026.10.11549", "llama-cpp-python==0.3.36"

# Runs in the peer's environment: one JSON request per line on stdin, one answer per line on stdout.
CHILD = r"""
import json, os, sys, time
kind, model, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
out = os.fdopen(os.dup(1), "w")     # the library prints, too: its lines go to stderr
os.dup2(2, 1)
if kind == "wheel":
    import xllamacpp
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.n_gpu_layers = model, 2048, 1, 0
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    p.warmup, p.verbosity = True, 0
    server = xllamacpp.Server(p)
    def answer(q):
        r = server.handle_completions({"prompt": q["prompt"], "n_predict": q["n"], "max_tokens": q["n"], "cache_prompt": False,
                                       "ignore_eos": True, "temperature": 0})
        r = json.loads(r) if isinstance(r, (str, bytes)) else r
        t = r["timings"]
        return {"prompt_n": t["prompt_n"], "prompt_ms": t["prompt_ms"], "predicted_n": t["predicted_n"], "predicted_ms": t["predicted_ms"]}
else:
    import llama_cpp, numpy
    m = llama_cpp.Llama(model_path=model, n_ctx=2048, n_batch=2048, n_ubatch=512, n_threads=threads, n_threads_batch=threads,
                        n_gpu_layers=0, verbose=False)
    def best():
        p = llama_cpp.llama_get_logits_ith(m.ctx, -1)
        return int(numpy.argmax(numpy.ctypeslib.as_array(p, shape=(m.n_vocab(),))))
    def answer(q):
        m.reset()
        a = time.perf_counter()
        m.eval(q["prompt"])
        t = best()
        b = time.perf_counter()
        for _ in range(q["n"] - 1):
            m.eval([t])
            t = best()
        c = time.perf_counter()
        return {"prompt_n": len(q["prompt"]), "prompt_ms": (b - a) * 1e3, "predicted_n": q["n"], "predicted_ms": (c - b) * 1e3}
print(json.dumps("ready"), file=out, flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), file=out, flush=True)
os._exit(0)
"""


def peer_python(native):
    home = os.path.join(ROOT, ".cache", "venv-peers-native" if native else "venv-peers")
    python = os.path.join(home, "bin", "python")
    want = NATIVE if native else WHEEL
    if not os.path.exists(python):
        print(f"peers: making {home}", file=sys.stderr)
        venv.create(home, with_pip=True)
    module = "llama_cpp" if native else "xllamacpp"
    if subprocess.run([python, "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode:
        print(f"peers: installing {want}", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "-q", want], check=True)
    return python


def memory_mib(pid):
    """Peak resident memory of a process."""
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float("nan")


class Hearth:
    name = "hearth"

    def __init__(self, binary, path, threads):
        self.model = path
        self.p = subprocess.Popen([binary, "up", "--port", "0", "--no-open", "--model", path, "--threads", str(threads)],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.p.stdout.readline().decode()
        if not line.startswith("Hearth is up: "):
            sys.exit("peers: Hearth did not start; see why with: hearth up --port 0 --no-open")
        self.url = line.split()[-1]

    def answer(self, prompt, n):
        body = {"model": self.model, "prompt": prompt, "max_tokens": n, "temperature": 0, "ignore_eos": True}
        q = urllib.request.Request(self.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(q, timeout=600) as r:
            return json.load(r)["timings"]

    def stop(self):
        self.p.terminate()
        self.p.wait()


class Peer:
    def __init__(self, python, native, path, threads):
        self.name = "llama.cpp native" if native else "llama.cpp"
        self.p = subprocess.Popen([python, "-c", CHILD, "native" if native else "wheel", path, str(threads)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self.p.stdout.readline().strip() != '"ready"':
            sys.exit("peers: the peer did not start")

    def answer(self, prompt, n):
        self.p.stdin.write(json.dumps({"prompt": prompt, "n": n}) + "\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def stop(self):
        self.p.stdin.close()
        self.p.wait()


def speed(engine, test, seed):
    """Tokens per second of one test; the prompt is the same for both engines and new in every round (no cache can help)."""
    rng = random.Random(seed)
    if test == "pp512":
        t = engine.answer([rng.randrange(1000, 20000) for _ in range(512)], 1)
        assert t["prompt_n"] == 512, t
        return 512e3 / t["prompt_ms"]
    t = engine.answer([rng.randrange(1000, 20000) for _ in range(8)], 65)
    assert t["predicted_n"] == 65, t
    return 64e3 / t["predicted_ms"]  # the first token belongs to the prompt


def model_path(binary, name):
    if os.path.exists(name):
        return os.path.abspath(name)
    shown = subprocess.run([binary, "show", name, "--json"], capture_output=True, text=True)
    path = json.loads(shown.stdout).get("path") if shown.returncode == 0 else None
    if not path:
        subprocess.run([binary, "pull", name], check=True)
        path = json.loads(subprocess.run([binary, "show", name, "--json"], capture_output=True, text=True, check=True).stdout)["path"]
    return path


def compare(args, name, python):
    path = model_path(args.bin, name)
    engines = [Hearth(args.bin, path, args.threads), Peer(python, args.native, path, args.threads)]
    rows = []
    try:
        for test in args.tests:
            got = {e.name: [] for e in engines}
            for e in engines:
                speed(e, test, 0)  # warm-up, not counted; loads the model
            for r in range(args.rounds):
                for e in engines if r % 2 == 0 else engines[::-1]:
                    got[e.name].append(speed(e, test, r + 1))
            med = {k: statistics.median(v) for k, v in got.items()}
            ours, theirs = (med[e.name] for e in engines)
            each = [a / b for a, b in zip(*(got[e.name] for e in engines))]
            rows.append({"model": name, "test": test, "threads": args.threads, "rounds": args.rounds, "peer": engines[1].name,
                         "hearth": round(ours, 2), "peer_tokens_per_s": round(theirs, 2), "ratio": round(ours / theirs, 3),
                         "ratio_min": round(min(each), 3), "ratio_max": round(max(each), 3),
                         "hearth_mib": round(memory_mib(engines[0].p.pid)), "peer_mib": round(memory_mib(engines[1].p.pid))})
    finally:
        for e in engines:
            e.stop()
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", nargs="+", default=["qwen2.5-coder:0.5b", "qwen2.5-coder:1.5b"], help="names or files")
    p.add_argument("--tests", nargs="+", default=["pp512", "tg64"], choices=["pp512", "tg64"])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--native", action="store_true", help="llama-cpp-python compiled here")
    p.add_argument("--python", help="a Python that has the peer (default: .cache/venv-peers)")
    p.add_argument("--bin", default=os.path.join(ROOT, "build", "hearth"))
    p.add_argument("--json", action="store_true", help="one object per line")
    args = p.parse_args()
    python = args.python or peer_python(args.native)
    if not args.json:
        print(f"{'model':<24} {'test':<6} {'hearth t/s':>11} {'peer t/s':>10} {'ratio':>6} {'range':>13} {'hearth MiB':>11} {'peer MiB':>9}")
    for name in args.models:
        for r in compare(args, name, python):
            if args.json:
                print(json.dumps(r), flush=True)
            else:
                print(f"{os.path.basename(r['model']):<24} {r['test']:<6} {r['hearth']:>11.1f} {r['peer_tokens_per_s']:>10.1f} {r['ratio']:>6.2f} "
                      f"{r['ratio_min']:>6.2f}-{r['ratio_max']:<6.2f} {r['hearth_mib']:>11} {r['peer_mib']:>9}", flush=True)


if __name__ == "__main__":
    main()
