#!/usr/bin/env python3
"""bench/peers.py: Hearth beside llama.cpp on the same file, the same machine, the same minute.

Both use the same number of threads and get the same random token ids. Rounds are interleaved and the order changes every round,
because a shared machine's speed drifts; what counts is the ratio of the medians. Prefill (pp512) and decode (tg64) of the real
files are taken from Hearth's server, sampler included, against llama.cpp's C API.

    bench/peers.py                                     all four real models, 5 rounds, 2 threads, markdown
    bench/peers.py --models smollm2:135m --rounds 9 --json
    bench/peers.py --cpu-mask avx2                     both sides as on a machine that has AVX2 and no more
    bench/peers.py --peer wheel                        the prebuilt wheel: no compilation, but 7 to 70 % slower

The peer is compiled on this machine (see peer_build.py) and lives in .cache/venv-peers-*, made on first use."""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import urllib.request

import peer_build
from peer_build import ROOT

MODELS = ["qwen2.5-coder:1.5b", "qwen2.5-coder:0.5b", "gemma3:270m", "smollm2:135m"]
# What is to be reached, as ratios to the peer: (at least, aim).
TARGETS = {("pp512", "1.5b"): (2.1, 2.6), ("pp512", "0.5b"): (2.4, 3.0), ("pp512", "270m"): (2.3, 2.8), ("pp512", "135m"): (3.2, 4.0),
           ("tg64", "270m"): (1.7, 2.2), ("tg64", "135m"): (1.8, 2.2)}


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
        self.p = subprocess.Popen([binary, "up", "--port", "0", "--no-open", "--model", path, "--threads", str(threads), "--no-spec"],
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
    def __init__(self, python, variant, path, threads):
        self.name = "llama.cpp " + variant
        kind = "wheel" if variant == "wheel" else "native"
        self.p = subprocess.Popen([python, peer_build.CHILD, kind, path, str(threads)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self.p.stdout.readline().strip() != '"ready"':
            sys.exit("peers: the peer did not start")

    def answer(self, prompt, n):
        self.p.stdin.write(json.dumps({"prompt": prompt, "n": n}) + "\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            sys.exit("peers: the peer died")
        return json.loads(line)

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
    """A file, an installed model, or one that the tests' cache gets."""
    if os.path.exists(name):
        return os.path.abspath(name)
    shown = subprocess.run([binary, "show", name, "--json"], capture_output=True, text=True)
    path = json.loads(shown.stdout).get("path") if shown.returncode == 0 else None
    if not path:
        got = subprocess.run([os.path.join(ROOT, "tools/fetch-models"), name], check=True, stdout=subprocess.PIPE, text=True)
        path = got.stdout.strip().splitlines()[-1]
    return path


def target(test, name):
    return next((v for (t, m), v in TARGETS.items() if t == test and m in name), (None, None))


def interleaved(engines, rounds, measure):
    """{name: [figure of each round]}; one warm-up each, not counted."""
    got = {e.name: [] for e in engines}
    for e in engines:
        measure(e, 0)
    for r in range(rounds):
        for e in engines if r % 2 == 0 else engines[::-1]:
            got[e.name].append(measure(e, r + 1))
    return got


def compare(args, name, peer):
    path = model_path(args.bin, name)
    engines = [Hearth(args.bin, path, args.threads), Peer(peer[1], peer[0], path, args.threads)]
    rows = []
    try:
        for test in args.tests:
            got = interleaved(engines, args.rounds, lambda e, r: speed(e, test, r))
            ours, theirs = (statistics.median(got[e.name]) for e in engines)
            each = [a / b for a, b in zip(*(got[e.name] for e in engines))]
            least, aim = target(test, name)
            rows.append({"model": name, "test": test, "threads": args.threads, "rounds": args.rounds, "cpu_mask": args.cpu_mask,
                         "peer": engines[1].name, "hearth": round(ours, 2), "peer_tokens_per_s": round(theirs, 2),
                         "ratio": round(ours / theirs, 3), "ratio_min": round(min(each), 3), "ratio_max": round(max(each), 3),
                         "at_least": least, "aim": aim, "hearth_mib": round(memory_mib(engines[0].p.pid)),
                         "peer_mib": round(memory_mib(engines[1].p.pid))})
    finally:
        for e in engines:
            e.stop()
    return rows


def verdict(r):
    if r["at_least"] is None:
        return "-"
    reached = "aim" if r["ratio"] >= r["aim"] else "yes" if r["ratio"] >= r["at_least"] else "no"
    return f"{r['at_least']:g} / {r['aim']:g}: {reached}"


def show(r, as_json):
    if as_json:
        print(json.dumps(r), flush=True)
        return
    print(f"| {os.path.basename(r['model']):<18} | {r['test']:<5} | {r['hearth']:>10.1f} | {r['peer_tokens_per_s']:>8.1f} | {r['ratio']:>5.2f} "
          f"| {r['ratio_min']:.2f}-{r['ratio_max']:.2f} | {verdict(r):<14} | {r['hearth_mib']} / {r['peer_mib']} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", nargs="+", default=MODELS, help="names or files")
    p.add_argument("--tests", nargs="+", default=["pp512", "tg64"], choices=["pp512", "tg64"])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--peer", choices=["native", "noamx", "avx2", "wheel"], help="default: native; avx2 with --cpu-mask avx2")
    p.add_argument("--cpu-mask", help="Hearth's level, as in hearth --cpu-mask")
    p.add_argument("--bin", default=os.path.join(ROOT, "build", "hearth"))
    p.add_argument("--json", action="store_true", help="one object per line")
    args = p.parse_args()
    if args.cpu_mask:
        os.environ["HEARTH_CPU_MASK"] = args.cpu_mask
    wanted = args.peer or ("avx2" if args.cpu_mask == "avx2" else "native")
    variant, python, remark = peer_build.best(wanted, model_path(args.bin, "smollm2:135m"))
    if not args.json:
        print(f"peer: llama.cpp {variant} ({remark or peer_build.NATIVE if variant != 'wheel' else peer_build.WHEEL})\n")
        print("| model | test | hearth t/s | peer t/s | ratio | range | at least / aim | MiB, hearth / peer |\n|---|---|--:|--:|--:|---|---|--:|")
    for name in args.models:
        for r in compare(args, name, (variant, python)):
            show(r, args.json)


if __name__ == "__main__":
    main()
