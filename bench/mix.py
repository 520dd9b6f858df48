"""mix: chats over HTTP that keep several models busy, and a long prompt that intrudes: `hearth bench mix` from outside, so that any server
with /v1/completions can be asked the same."""
import http.client
import json
import math
import random
import threading
import time
import urllib.parse

WORDS = "time year people way day man thing woman life child world school state family group house place work week case point water room money".split()


def quantile(times, share):
    return sorted(times)[max(0, math.ceil(share * len(times)) - 1)] if times else float("nan")


class Seen:
    def __init__(self):
        self.first, self.between, self.tokens, self.seconds = [], [], 0, 0.0


class Traffic:
    """targets: [(url, model)]; the intruder goes to the last one."""

    def __init__(self, targets, chats, answers, words, tokens):
        self.targets, self.chats, self.answers, self.words, self.tokens = targets, chats, answers, words, tokens
        self.lock, self.changed, self.seed = threading.Lock(), threading.Condition(), 0

    def prompt(self, words):
        with self.lock:
            self.seed += 1
            rng = random.Random(self.seed)
        return " ".join(rng.choice(WORDS) for _ in range(words))

    def ask(self, target, words, tokens, seen, stop=lambda: False):
        """One answer; seen(seconds since the last piece of text, first) for each piece."""
        url, model = target
        body = {"model": model, "prompt": self.prompt(words), "max_tokens": tokens, "temperature": 0.7, "seed": self.seed, "ignore_eos": True,
                "stream": True}
        c = http.client.HTTPConnection(urllib.parse.urlparse(url).netloc, timeout=600)
        last, first = time.perf_counter(), True
        c.request("POST", "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        r = c.getresponse()
        if r.status != 200:
            raise RuntimeError(f"{url} answers {r.status}: {r.read()[:300]}")
        for line in r:
            if line.startswith(b"data: {") and any(x.get("text") for x in json.loads(line[6:]).get("choices", [])):
                now = time.perf_counter()
                seen(now - last, first)
                last, first = now, False
            if stop():
                break
        c.close()

    def run(self, only=None, intruder=0):
        """Seconds it took, and what the chats of each model saw: all answers, or until the intruder's prompt has its first token."""
        n = len(self.targets)
        seen, state = [Seen() for _ in range(n)], {"count": not intruder, "stop": False, "begun": 0, "error": None}
        models = range(n) if only is None else [only]

        def chat(m):
            begun = False

            def note(seconds, first):
                nonlocal begun
                with self.changed:
                    if not begun:
                        state["begun"], begun = state["begun"] + 1, True
                        self.changed.notify()
                    if state["count"]:
                        (seen[m].first if first else seen[m].between).append(seconds)
                        seen[m].tokens += 1

            try:
                i = 0
                while (intruder or i < self.answers) and not state["stop"]:
                    self.ask(self.targets[m], self.words, self.tokens, note, lambda: state["stop"])
                    i += 1
            except Exception as e:  # noqa: BLE001 - handed to the caller
                with self.changed:
                    state["error"], state["stop"] = e, True
                    self.changed.notify()
            seen[m].seconds = time.perf_counter() - begin

        threads = [threading.Thread(target=chat, args=(m,)) for m in models for _ in range(self.chats)]
        begin = time.perf_counter()
        for t in threads:
            t.start()
        if intruder:
            with self.changed:
                self.changed.wait_for(lambda: state["begun"] == len(threads) or state["error"])
                begin, state["count"] = time.perf_counter(), True
            if not state["error"]:
                self.ask(self.targets[-1], intruder, 1, lambda *_: None)
            state["count"], state["stop"] = False, True
            took = time.perf_counter() - begin
        for t in threads:
            t.join()
        if state["error"]:
            raise state["error"]
        if intruder:
            for s in seen:
                s.seconds = took
        return (took if intruder else time.perf_counter() - begin), seen

    def round(self, intruder):
        """{figure: value} of one round: each model alone, all together, and with the intruder."""
        parts = [self.run(only=m) for m in range(len(self.targets))]
        together_s, together = self.run()
        intruder_s, pressed = self.run(intruder=intruder)
        out = {(None, "one after the other, s"): sum(s for s, _ in parts), (None, "all together, s"): together_s,
               (None, f"intruder of {intruder} words: its first token, s"): intruder_s}
        for m in range(len(self.targets)):
            for when, seen in (("alone", parts[m][1]), ("together", together), ("intruder", pressed)):
                s = seen[m]
                for name, times in (("first", s.first), ("between", s.between)):
                    if times:
                        out[m, f"{when}: {name}, median, ms"] = quantile(times, 0.5) * 1e3
                        out[m, f"{when}: {name}, 99 %, ms"] = quantile(times, 0.99) * 1e3
                out[m, f"{when}: tokens/s"] = s.tokens / s.seconds
        return out
