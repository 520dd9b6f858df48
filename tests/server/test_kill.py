"""kill -9 at random moments with the disk tier on, its files torn in between: the server starts again, what is not whole is no hit, and every
answer is the one of a server that had computed nothing before. In the environment: HEARTH_KILLS (20) and HEARTH_KILL_SEED (drawn and printed)."""
import http.client
import os
import random
import tempfile
import threading
import time

from lib import WORK, Server, chatty, test, tiny, wait_for

KILLS = int(os.environ.get("HEARTH_KILLS", "20"))
QUESTIONS = 16
LIMIT = 8 << 20  # of the disk tier: less than the questions need, so that segments go


def question(i, names):
    """Three beginnings of different length that many share."""
    common = f"Rules of house {i % 3}. " + "Be kind and brief. " * (8 + 16 * (i % 3))
    return {"model": names[i % 2], "prompt": common + f"Now number {i}:" + " word" * (i % 5 * 9), "max_tokens": 4 + i % 9,
            "temperature": (0, 0.9)[i // 2 % 2], "seed": i, "ignore_eos": True}


def answer(server, body):
    """(what was said, how many tokens were not computed again)"""
    r = server.post("/v1/completions", body)
    assert r.status == 200, r.body
    return (r.json["choices"][0]["text"], r.json["usage"]["completion_tokens"]), r.json["usage"]["prompt_tokens_details"]["cached_tokens"]


def both_ready(server):
    assert wait_for(lambda: sum(m["state"] == "ready" for m in server.status()["models"]) == 2), server.stderr()
    return sorted(m["name"] for m in server.status()["models"])


def answers_without_cache(models):
    with Server(*models) as s:
        names, want = both_ready(s), []
        for i in range(QUESTIONS):
            said, cached = answer(s, question(i, names))
            assert cached == 0, cached
            want.append(said)
            gone = {"model": names[i % 2]}  # and what was computed goes with it
            assert wait_for(lambda gone=gone: s.post("/api/unload", gone).status == 200), gone
        return names, want


def segments(home):
    folder = os.path.join(home, "kv")
    return [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(".kv")] if os.path.isdir(folder) else []


def flip(path, at, rng):
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(1)[0]
        f.seek(at)
        f.write(bytes([old ^ 1 << rng.randrange(8)]))


def tear(path, rng):
    """A file as a crash or a bad disk may leave it."""
    size = os.path.getsize(path)
    at, n, how = rng.randrange(size + 1), rng.randrange(1, 8192), rng.randrange(5)
    if how == 0 and at < size:
        return flip(path, at, rng)
    with open(path, "r+b") as f:
        if how == 1:
            f.truncate(at)
            return
        f.seek(rng.randrange(size + 1))
        piece = (bytes(4096), f.read(n), rng.randbytes(n))[how % 3]
        f.seek(at)
        f.write(piece)


class Life:
    """A server from its start to its SIGKILL, and those who ask it."""

    def __init__(self, server, names, want):
        self.server, self.names, self.want = server, names, want
        self.ends = threading.Event()
        self.answers = self.hits = 0
        self.bad = []

    def client(self, rng):
        while not self.ends.is_set() and not self.bad:
            i = rng.randrange(QUESTIONS)
            try:
                said, cached = answer(self.server, question(i, self.names))
            except (OSError, http.client.HTTPException, ValueError) as e:
                if not self.ends.is_set():
                    self.bad.append(f"question {i}: {type(e).__name__}: {e}")
                return
            self.answers, self.hits = self.answers + 1, self.hits + (cached > 0)
            if said != self.want[i]:
                self.bad.append(f"question {i}: {said!r} with {cached} tokens cached, alone {self.want[i]!r}")

    def live(self, rng):
        seconds = rng.random() ** 2 * 1.2
        clients = [threading.Thread(target=self.client, args=(random.Random(rng.random()),)) for _ in range(3)]
        for c in clients:
            c.start()
        time.sleep(seconds)  # any moment is a good one
        self.ends.set()
        self.server.kill()
        for c in clients:
            c.join()


def last_life(models, options, want):
    """Everybody is answered; (blocks read, blocks and ends of files that were bad)."""
    with Server(*models, **options) as s:
        names = both_ready(s)
        for i in range(QUESTIONS):
            said, cached = answer(s, question(i, names))
            assert said == want[i], f"question {i}: {said!r} with {cached} tokens cached, alone {want[i]!r}"
        assert wait_for(s.idle)
        return s.metric("hearth_kv_disk_read_total"), s.metric("hearth_kv_disk_bad_total")


@test
def killed_at_any_moment_it_answers_the_same():
    seed = int(os.environ.get("HEARTH_KILL_SEED") or random.randrange(1 << 30))
    rng, torn, answers, hits, most = random.Random(seed), 0, 0, 0, 0
    print(f"     {KILLS} kills, HEARTH_KILL_SEED={seed}", flush=True)
    models = [chatty(), tiny("windowed", "--family", "gemma3", "--template", "default", "--seed", "5", "--ctx", "4096")]
    names, want = answers_without_cache(models)
    home = tempfile.mkdtemp(prefix="killed-", dir=WORK)
    options = {"args": ["--kv-disk", str(LIMIT)], "home": home, "ready": False}
    for lives in range(KILLS):
        for path in segments(home):
            if rng.random() < 0.2:
                tear(path, rng)
                torn += 1
        with Server(*models, **options) as s:
            life = Life(s, names, want)
            life.live(rng)
        answers, hits = answers + life.answers, hits + life.hits
        size = sum(os.path.getsize(p) for p in segments(home))
        assert not life.bad and size <= LIMIT, f"life {lives}, {size} bytes on disk: " + "; ".join(life.bad)
        most = max(most, size)
    found, _ = last_life(models, options, want)
    spoilt = segments(home)
    for path in spoilt:
        flip(path, rng.randrange(8), rng)  # the first head
    again, bad = last_life(models, options, want)
    assert found and not again and bad >= len(spoilt), (found, again, bad, len(spoilt))
    print(f"     {answers} answers, {hits} with a beginning found; {torn} files torn; at most {most} of {LIMIT} bytes on disk")
    assert answers > KILLS and hits and torn
