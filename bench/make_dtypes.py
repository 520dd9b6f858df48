#!/usr/bin/env python3
"""bench/make_dtypes.py: GGUF files of the 1.5b's shapes, one per dtype, for comparing engines on the same blocks.

The 28 layers of qwen2.5 1.5b (1536 wide, 12 heads over 2, 8960 in the feed-forward) and a small vocabulary; fewer layers would not
do, because the first and the last take wider activations. Every tensor repeats a pool of encoded random blocks with sane scales: speed
does not depend on what the numbers are. tests/tools/tiny_gguf.py writes the keys and the tokenizer. 0.7 to 2.6 GB each.

    bench/make_dtypes.py Q4_0 NVFP4                the paths, made on first use in .cache/bench"""
import os
import random
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import tiny_gguf  # noqa: E402

DTYPES = ["Q4_0", "Q4_K", "Q5_0", "Q6_K", "Q8_0", "MXFP4", "NVFP4", "F16", "BF16"]
SHAPE = dict(layers=28, embd=1536, heads=12, kv_heads=2, head_dim=128, ff=8960, vocab=2048, ctx=4096, tied=True, sidecars=False, seed=3)
POOL = 4099  # blocks; a prime, so that rows are not all alike


def pool_of(dtype):
    rng, block = random.Random(dtype), tiny_gguf.DTYPES[dtype][1]
    n = POOL * (block if block > 1 else 64)
    return tiny_gguf.encode([rng.gauss(0, 0.02) for _ in range(n)], dtype, rng)


def make(dtype):
    """The path of the dtype's file."""
    folder = os.path.join(ROOT, ".cache", "bench")
    path = os.path.join(folder, f"1.5b-shapes-28-{dtype}.gguf")
    if os.path.exists(path):
        return path
    os.makedirs(folder, exist_ok=True)
    pools, made, plain = {}, {}, tiny_gguf.add_tensor

    def add_tensor(g, name, dims, kind, kept, o):
        if len(dims) == 1:
            return plain(g, name, dims, kind, kept, o)
        _, block, size = tiny_gguf.DTYPES[kept]
        if kept not in pools:
            pools[kept] = pool_of(kept)
        pool, n = pools[kept], dims[0] * dims[1] // block * size
        if (kept, n) not in made:
            made[kept, n] = (pool * (n // len(pool) + 1))[:n]
        g.tensor(name, dims, kept, made[kept, n])

    tiny_gguf.add_tensor = add_tensor
    try:
        tiny_gguf.write(path + ".part", "qwen2", dtype=dtype, name=f"1.5b shapes {dtype}", **SHAPE)
    finally:
        tiny_gguf.add_tensor = plain
    os.rename(path + ".part", path)
    return path


if __name__ == "__main__":
    wrong = [d for d in sys.argv[1:] if d not in DTYPES]
    if wrong or "--help" in sys.argv:
        sys.exit(__doc__ + "\n\ndtypes: " + " ".join(DTYPES))
    for d in sys.argv[1:] or DTYPES:
        print(make(d), flush=True)
