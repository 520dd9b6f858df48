"""peer_llama: runs in the peer's environment (see peer_build.py): peer_llama.py KIND MODEL THREADS. One JSON request per line
on stdin, one answer per line on stdout; KIND `test` answers one self-test instead, KIND `serve` (more arguments: slots, context of
each) tells the URL of the library's own HTTP server and lasts until its stdin ends.

The native peer is driven through llama.cpp's C API as llama-bench and llama-batched-bench do: no tokeniser, no sampler but
the largest logit, nothing of Python inside a step but the call. Contexts are made per shape and the cache is cleared between."""
import json
import os
import sys
import time

kind, model, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
out = os.fdopen(os.dup(1), "w")  # the library prints, too: its lines go to stderr
os.dup2(2, 1)


class Wheel:
    def __init__(self, slots=1, slot_ctx=2048):
        import xllamacpp
        p = xllamacpp.CommonParams()
        p.model.path, p.n_ctx, p.n_parallel, p.n_gpu_layers, p.port = model, slots * slot_ctx, slots, 0, 0
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
        p.warmup, p.verbosity = True, 0
        self.server = xllamacpp.Server(p)

    def complete(self, q):
        r = self.server.handle_completions({"prompt": q["prompt"], "n_predict": q["n"], "max_tokens": q["n"], "cache_prompt": False,
                                            "ignore_eos": True, "temperature": 0})
        return (json.loads(r) if isinstance(r, (str, bytes)) else r)["timings"]


class Native:
    def __init__(self):
        import llama_cpp
        import numpy
        self.l, self.np = llama_cpp, numpy
        llama_cpp.llama_backend_init()
        p = llama_cpp.llama_model_default_params()
        p.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(model.encode(), p)
        if not self.model:
            sys.exit("peer_llama: the model does not load")
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(2048, 0, 1)
        self.shape = self.ctx = None

    def context(self, n_ctx, n_seq):
        l = self.l
        if self.shape != (n_ctx, n_seq):
            if self.ctx:
                l.llama_free(self.ctx)
            p = l.llama_context_default_params()
            p.n_ctx, p.n_seq_max, p.n_batch, p.n_ubatch = n_ctx * n_seq, n_seq, 2048, 512
            p.n_threads = p.n_threads_batch = threads
            p.kv_unified = False  # every sequence its own part: what llama-batched-bench takes
            p.no_perf = True
            self.ctx, self.shape = l.llama_init_from_model(self.model, p), (n_ctx, n_seq)
        l.llama_memory_clear(l.llama_get_memory(self.ctx), False)

    def decode(self, rows):
        """rows: (token, position, sequence, wanted)."""
        b = self.batch
        b.n_tokens = len(rows)
        for i, (token, pos, seq, wanted) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, pos, 1, wanted
            b.seq_id[i][0] = seq
        if self.l.llama_decode(self.ctx, b):
            sys.exit("peer_llama: llama_decode failed")

    def logits(self, i):
        return self.np.ctypeslib.as_array(self.l.llama_get_logits_ith(self.ctx, i), shape=(self.vocab,))

    def prompt(self, tokens, seq=0):
        self.decode([(t, i, seq, i == len(tokens) - 1) for i, t in enumerate(tokens)])

    def complete(self, q):
        tokens = q["prompt"]
        self.context(2048, 1)
        a = time.perf_counter()
        self.prompt(tokens)
        t = int(self.np.argmax(self.logits(-1)))
        b = time.perf_counter()
        for i in range(q["n"] - 1):
            self.decode([(t, len(tokens) + i, 0, True)])
            t = int(self.np.argmax(self.logits(-1)))
        c = time.perf_counter()
        return {"prompt_n": len(tokens), "prompt_ms": (b - a) * 1e3, "predicted_n": q["n"], "predicted_ms": (c - b) * 1e3}

    def together(self, q):
        """n steps of `batch` sequences."""
        n, tokens = q["batch"], q["prompt"]
        self.context(256, n)
        for s in range(n):
            self.prompt(tokens, s)
        a = time.perf_counter()
        for i in range(q["n"]):
            self.decode([(tokens[(s + i) % len(tokens)], len(tokens) + i, s, True) for s in range(n)])
            self.logits(-1)
        return {"seconds": time.perf_counter() - a}

    def test(self):
        tokens = [1000 + 37 * i for i in range(64)]
        self.context(2048, 1)
        self.prompt(tokens)
        once = self.logits(-1).astype(float)
        self.context(2048, 1)
        for i, t in enumerate(tokens):
            self.decode([(t, i, 0, True)])
        each = self.logits(-1).astype(float)
        norm = self.np.linalg.norm
        return {"cosine": float(once @ each / (norm(once) * norm(each)))}


if kind == "serve":
    peer = Wheel(int(sys.argv[4]), int(sys.argv[5]))
    print(json.dumps({"url": peer.server.listening_address}), file=out, flush=True)
    sys.stdin.read()
    os._exit(0)
peer = Wheel() if kind == "wheel" else Native()
if kind == "test":
    print(json.dumps(peer.test()), file=out, flush=True)
    os._exit(0)
print(json.dumps("ready"), file=out, flush=True)
for line in sys.stdin:
    q = json.loads(line)
    print(json.dumps(peer.together(q) if "batch" in q else peer.complete(q)), file=out, flush=True)
os._exit(0)
