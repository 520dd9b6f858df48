#!/usr/bin/env python3
"""bench/peers.py: Hearth beside llama.cpp on the same file, the same machine, the same minute; one row for every target.

Both use the same number of threads and get random token ids. Rounds are interleaved and the order changes every round, because a
shared machine's speed drifts; what counts is the ratio of the medians, beside the smallest and the largest of a round. Shares of the
machine's roof use the roof measured in the same round.

    real    prefill and decode of the real files: Hearth's server, sampler included, against llama.cpp's C API
    batch   4, 8 and 16 sequences that decode together: both backends alone
    dtype   prefill on the 1.5b's shapes in nine dtypes (make_dtypes.py); F16 and BF16 also as a share of the f32 roof
    fp4     MXFP4 and NVFP4 against Q4_0
    share   decode as a share of the read bandwidth, prefill of the int8 roof
    depth   decode and attention of prefill at depths 8k and 32k, as shares
    threads prefill with two threads against one
    load    reading and packing against the disk's direct-read speed
    first   time to the first token over HTTP, 20-token prompt, warm 135m
    mix     two models with two chats each and a long prompt that intrudes: one Hearth server against one xllamacpp server per model, over HTTP

    bench/peers.py                                     everything: about 40 minutes on two cores
    bench/peers.py real --models smollm2:135m --rounds 9 --json
    bench/peers.py real batch dtype --cpu-mask avx2    both sides as on a machine that has AVX2 and no more
    bench/peers.py real --peer wheel                   the prebuilt wheel: no compilation, but 7 to 70 % slower

The peer is compiled on this machine (see peer_build.py) and lives in .cache/venv-peers-*, made on first use."""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys

import make_dtypes
import mix
import peer_build
from engines import Peer, PeerServer, Server, Sweep, disk_gb_s, memory_mib
from peer_build import ROOT

MODELS = ["qwen2.5-coder:1.5b", "qwen2.5-coder:0.5b", "gemma3:270m", "smollm2:135m"]
# (test, part of the model's name) -> (at least, aim)
REAL = {("pp512", "1.5b"): (2.1, 2.6), ("pp512", "0.5b"): (2.4, 3.0), ("pp512", "270m"): (2.3, 2.8), ("pp512", "135m"): (3.2, 4.0),
        ("tg64", "270m"): (1.7, 2.2), ("tg64", "135m"): (1.8, 2.2)}
BATCH = {4: (1.7, None), 8: (2.2, None), 16: (2.5, 3.0)}


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


def interleaved(sides, rounds):
    """sides: functions of the round; [[figure of each round] per side]. One warm-up each, not counted."""
    got = [[] for _ in sides]
    for f in sides:
        f(0)
    for r in range(rounds):
        order = list(enumerate(sides))
        for i, f in order if r % 2 == 0 else order[::-1]:
            got[i].append(f(r + 1))
    return got


def ids(seed, n, top=20000):
    rng = random.Random(seed)
    return [rng.randrange(min(1000, top // 2), top) for _ in range(n)]


def prefill(engine, seed, top=20000):
    t = engine.complete(ids(seed, 512, top), 1)
    assert t["prompt_n"] == 512, t
    return 512e3 / t["prompt_ms"]


def decode(engine, seed):
    t = engine.complete(ids(seed, 8), 65)
    assert t["predicted_n"] == 65, t
    return 64e3 / t["predicted_ms"]  # the first token belongs to the prompt


class Table:
    def __init__(self, args, peer):
        self.args, self.bin, self.threads, self.rounds, self.peer = args, args.bin, args.threads, args.rounds, peer

    def new_peer(self, path):
        return Peer(self.peer[1], self.peer[0], path, self.threads)

    def row(self, group, model, what, ours, theirs, of, target=(None, None), unit="t/s", less=False, **more):
        """ours and theirs: figures of the rounds, side by side; the ratio is what the target speaks of. less: less is better."""
        a, b = statistics.median(ours), statistics.median(theirs)
        each = [y / x if less else x / y for x, y in zip(ours, theirs)]
        least, aim = target
        ratio = b / a if less else a / b
        reached = None if least is None else "aim" if aim and ratio >= aim else "yes" if ratio >= least else "no"
        r = {"group": group, "model": model, "test": what, "threads": self.threads, "rounds": self.rounds, "cpu_mask": self.args.cpu_mask,
             "unit": unit, "hearth": round(a, 3), "against": of, "other": round(b, 3), "ratio": round(ratio, 3), "ratio_min": round(min(each), 3),
             "ratio_max": round(max(each), 3), "at_least": least, "aim": aim, "reached": reached, **more}
        if self.args.json:
            print(json.dumps(r), flush=True)
            return
        goal = "-" if least is None else f"{least:g}" + (f" / {aim:g}" if aim else "")
        memory = f"; {more['hearth_mib']} / {more['peer_mib']} MiB" if "hearth_mib" in more else ""
        print(f"| {model} | {what} | {a:.4g} {unit} | {b:.4g} ({of}) | {ratio:.2f} | {r['ratio_min']:.2f}-{r['ratio_max']:.2f} | {goal} "
              f"| {reached or '-'}{memory} |", flush=True)

    def real(self):
        for name in self.args.models:
            path = model_path(self.bin, name)
            ours, theirs = Server(self.bin, path, self.threads), self.new_peer(path)
            for test, f in (("pp512", prefill), ("tg64", decode)):
                got = interleaved([lambda r: f(ours, r), lambda r: f(theirs, r)], self.rounds)
                target = next((v for (t, m), v in REAL.items() if t == test and m in name), (None, None))
                self.row("real", name, test, *got, theirs.name, target, hearth_mib=round(memory_mib(ours.p.pid)),
                         peer_mib=round(memory_mib(theirs.p.pid)))
            ours.stop()
            theirs.stop()

    def batch(self):
        for name in [m for m in self.args.models if "0.5b" in m or "1.5b" in m or os.path.exists(m)]:
            path = model_path(self.bin, name)
            ours, theirs = Sweep(self.bin, path, self.threads, max(BATCH)), self.new_peer(path)
            for n, target in BATCH.items():
                got = interleaved([lambda r: ours.speed(f"tg32 @ d16 x {n}"), lambda r: 32 * n / theirs.together(ids(r, 16), 32, n)], self.rounds)
                self.row("batch", name, f"tg32 x {n}", *got, theirs.name, target)
            ours.stop()
            theirs.stop()

    def dtype(self):
        for d in self.args.dtypes:
            path = make_dtypes.make(d)
            ours, theirs = Sweep(self.bin, path, self.threads), self.new_peer(path)
            roofs = []

            def mine(r):
                roofs.append(ours.ask("roof")["f32_gflop_s"])
                a = ours.ask("pp512")
                shares.append(a["roof_share"])
                return a["tokens_per_s"]

            shares = []
            got = interleaved([mine, lambda r: prefill(theirs, r, 2000)], self.rounds)
            wide = d in ("F16", "BF16")
            self.row("dtype", f"1.5b shapes {d}", "pp512", *got, theirs.name, (1.4, None) if wide else (2.0, None))
            if wide:
                self.row("dtype", f"1.5b shapes {d}", "pp512", shares[1:], [1.0] * self.rounds, "f32 roof", (0.70, 0.85), "of roof",
                         roof=round(statistics.median(roofs[1:]), 1))
            ours.stop()
            theirs.stop()

    def fp4(self):
        for test in ("pp512", "tg64"):
            for d in ("MXFP4", "NVFP4"):
                a, b = (Sweep(self.bin, make_dtypes.make(x), self.threads) for x in (d, "Q4_0"))
                got = interleaved([lambda r: a.speed(test), lambda r: b.speed(test)], self.rounds)
                self.row("fp4", f"1.5b shapes {d}", test, *got, "Q4_0", (0.95, None))
                a.stop()
                b.stop()

    def shares(self, e, test):
        """The test's share of the roof, round after round, and the bound that it names."""
        e.ask(test)
        got = []
        for _ in range(self.rounds):
            e.ask("roof")
            got.append(e.ask(test))
        return [g["roof_share"] for g in got], got[0]["bound"], statistics.median(g["roof"] for g in got)

    def share(self):
        for name in [m for m in self.args.models if "0.5b" in m or "1.5b" in m]:
            e = Sweep(self.bin, model_path(self.bin, name), self.threads)
            for test, target in (("tg64", (0.90, 0.95)), ("pp512", (0.65, None) if "1.5b" in name else (None, None))):
                got, bound, roof = self.shares(e, test)
                self.row("share", name, test, got, [1.0] * self.rounds, f"{bound} {roof / 1e9:.0f} G/s", target, "of roof")
            e.stop()

    def depth(self):
        name = next((m for m in self.args.models if "1.5b" in m), self.args.models[0])
        e = Sweep(self.bin, model_path(self.bin, name), self.threads)
        for d in (8192, 32640):
            got, bound, roof = self.shares(e, f"tg32 @ d{d}")
            self.row("depth", name, f"tg32 @ d{d}", got, [1.0] * self.rounds, f"{bound} {roof / 1e9:.0f} G/s", (0.85, None), "of roof")
        for d in (8192, 32512):
            self.attention(e, name, d)
        e.stop()

    def attention(self, e, name, d):
        """Attention alone in prefill: what the step takes longer than at depth 0, against the f32 roof."""
        shown = json.loads(subprocess.run([self.bin, "show", model_path(self.bin, name), "--json"], capture_output=True, text=True, check=True).stdout)
        meta, family = shown["metadata"], shown["family"]
        per_key = 4 * meta[family + ".embedding_length"] * meta[family + ".block_count"]
        ours, roofs, n = [], [], 256
        for _ in range(self.rounds):
            roofs.append(e.ask("roof")["f32_gflop_s"])
            seconds = n / e.speed(f"pp{n} @ d{d}") - n / e.speed(f"pp{n}")
            ours.append(per_key * n * d / seconds / 1e9)
        self.row("depth", name, f"attention, pp{n} @ d{d}", ours, roofs, "f32 roof", (0.55, None), "GFLOP/s")

    def two_threads(self):
        name = self.args.models[0]
        path = model_path(self.bin, name)
        two, one = Sweep(self.bin, path, 2), Sweep(self.bin, path, 1)
        got = interleaved([lambda r: two.speed("pp512"), lambda r: one.speed("pp512")], self.rounds)
        self.row("threads", name, "pp512", *got, "one thread", (1.9, None))
        two.stop()
        one.stop()

    def load(self):
        name = self.args.models[0]
        path = model_path(self.bin, name)

        def ours(_):
            e = Sweep(self.bin, path, self.threads)
            e.stop()
            return e.hello["file_bytes"] / e.hello["load_s"] / 1e9

        got = interleaved([ours, lambda r: disk_gb_s(path)], self.rounds)
        self.row("load", name, "load", *got, "direct reads", (0.9, None), "GB/s")

    def first(self):
        name = next((m for m in self.args.models if "135m" in m), self.args.models[-1])
        e = Server(self.bin, model_path(self.bin, name), self.threads)
        got = [e.first_ms(ids(r, 20)) for r in range(self.rounds + 5)][5:]
        self.row("first", name, "first token of 20", [25.0] * self.rounds, got, "ms taken", (1.0, None), "ms allowed")
        e.stop()


    def mix(self):
        names = self.args.models if self.args.models is not MODELS else ["smollm2:135m", "qwen2.5-coder:0.5b"]
        paths, chats, intruder, python = [model_path(self.bin, n) for n in names], 2, self.args.intruder, peer_build.make("wheel")
        ours = Server(self.bin, paths[0], self.threads, *paths[1:])
        each = self.args.peer_threads or self.threads
        theirs = [PeerServer(python, p, each, chats + 1, intruder * 2 + 512) for p in paths]
        sides = [mix.Traffic(t, chats, answers=2, words=64, tokens=32) for t in ([(ours.url, p) for p in paths],
                                                                                [(e.url, p) for e, p in zip(theirs, paths)])]
        for s in sides:
            for t in s.targets:
                s.ask(t, 64, 8, lambda *_: None)
        got = [[], []]
        for r in range(self.rounds):
            for i in (0, 1) if r % 2 == 0 else (1, 0):
                got[i].append(sides[i].round(intruder))
        for model, what in got[0][0]:
            unit = what.split()[-1]
            self.row("mix", "all" if model is None else names[model], what.rsplit(",", 1)[0], *[[r[model, what] for r in g if (model, what) in r] for g in got],
                     f"xllamacpp, {each} threads each", unit="t/s" if unit == "tokens/s" else unit, less=unit != "tokens/s")
        memory = round(memory_mib(ours.p.pid)), round(sum(memory_mib(e.p.pid) for e in theirs))
        self.row("mix", "all", "peak resident", *[[m] for m in memory], "xllamacpp, all servers", unit="MiB", less=True)
        for e in [ours, *theirs]:
            e.stop()


GROUPS = {"real": Table.real, "batch": Table.batch, "dtype": Table.dtype, "fp4": Table.fp4, "share": Table.share, "depth": Table.depth,
          "threads": Table.two_threads, "load": Table.load, "first": Table.first,
          "mix": Table.mix}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("groups", nargs="*", metavar="GROUP", help="rows to measure; all when none is named")
    p.add_argument("--models", nargs="+", default=MODELS, help="names or files")
    p.add_argument("--dtypes", nargs="+", default=make_dtypes.DTYPES, choices=make_dtypes.DTYPES)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--peer", choices=["native", "noamx", "avx2", "wheel"], help="default: native; avx2 with --cpu-mask avx2")
    p.add_argument("--intruder", type=int, default=512, help="words of mix's long prompt")
    p.add_argument("--peer-threads", type=int, help="of each of mix's xllamacpp servers; default: as --threads")
    p.add_argument("--cpu-mask", help="Hearth's level, as in hearth --cpu-mask")
    p.add_argument("--bin", default=os.path.join(ROOT, "build", "hearth"))
    p.add_argument("--json", action="store_true", help="one object per line")
    args = p.parse_args()
    wrong = [g for g in args.groups if g not in GROUPS]
    if wrong:
        p.error(f"no group {wrong[0]}; there are {' '.join(GROUPS)}")
    if args.cpu_mask:
        os.environ["HEARTH_CPU_MASK"] = args.cpu_mask
    groups = args.groups or list(GROUPS)
    peer = (None, None, None)
    if {"real", "batch", "dtype"} & set(groups):
        peer = peer_build.best(args.peer or ("avx2" if args.cpu_mask == "avx2" else "native"), model_path(args.bin, "smollm2:135m"))
    if not args.json:
        package = peer_build.WHEEL if peer[0] == "wheel" else peer_build.NATIVE
        print(f"{args.threads} threads, medians of {args.rounds} rounds" + (f"; peer: {package}, {peer[0]}" if peer[0] else "") +
              (f"; {peer[2]}" if peer[2] else "") + "\n")
        print("| model | test | hearth | against | ratio | of the rounds | at least / aim | reached |\n|---|---|--:|--:|--:|---|---|---|")
    table = Table(args, peer)
    for g in groups:
        GROUPS[g](table)


if __name__ == "__main__":
    main()
