#!/usr/bin/env python3
"""Writes golden.h: encoded blocks of every dtype with random codes and scales, and the floats that the `gguf` package's reference
dequantisers make of them (pip install gguf numpy). Run by hand when a dtype is added; the result is committed."""
import sys
import numpy as np
from gguf import GGMLQuantizationType as T, quants

# name, bytes per block, elements per block, offsets of f16 fields, blocks
TYPES = [
    ("F16", 2, 1, [0], 64), ("BF16", 2, 1, [], 64), ("Q4_0", 18, 32, [0], 4), ("Q4_1", 20, 32, [0, 2], 4),
    ("Q5_0", 22, 32, [0], 4), ("Q5_1", 24, 32, [0, 2], 4), ("Q8_0", 34, 32, [0], 4),
    ("Q4_K", 144, 256, [0, 2], 2), ("Q5_K", 176, 256, [0, 2], 2), ("Q6_K", 210, 256, [208], 2),
    ("MXFP4", 17, 32, [], 6), ("NVFP4", 36, 64, [], 3),
]
rng = np.random.default_rng(20261123)
out = ["/* Made by make_golden.py from the gguf package's reference dequantisers. Do not edit. */",
       "static const struct golden { const char *name; unsigned n; const unsigned char *src; const unsigned *want; } GOLDEN[] = {"]
for name, size, elems, halves, blocks in TYPES:
    raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    for at in halves:  # ordinary scales of both signs, subnormals among them
        v = (rng.standard_normal(blocks) * np.where(rng.random(blocks) < 0.25, 1e-6, 0.05)).astype(np.float16)
        raw[:, at:at + 2] = v.view(np.uint8).reshape(blocks, 2)
    if name == "BF16":
        raw[:, 1] &= 0xBF  # keeps clear of infinities
    if name == "MXFP4":  # the ends of the scales' range; two are as any model has them
        raw[:, 0] = [0, 1, 254, 255, 118, 121]
        raw[4, 1:] = [0x10 * i + i for i in range(16)]
    if name == "NVFP4":  # subnormal, greatest, and what is no number
        raw[0, :4] = [0x00, 0x07, 0x7e, 0x7f]
        raw[1, :4] = [0x80, 0x01, 0x08, 0xff]
    want = quants.dequantize(raw.reshape(-1), T[name]).astype(np.float32).view(np.uint32).reshape(-1)
    assert len(want) == blocks * elems
    src = ",".join(str(b) for b in raw.reshape(-1))
    bits = ",".join(f"{w:#x}" for w in want)
    out.append(f'    {{"{name}", {len(want)}, (const unsigned char[]){{{src}}},\n     (const unsigned[]){{{bits}}}}},')
out.append("};")
text = "\n".join(out) + "\n"
lines = []
for line in text.split("\n"):  # keep lines readable
    while len(line) > 128:
        cut = line.rfind(",", 0, 128) + 1
        lines.append(line[:cut])
        line = line[cut:]
    lines.append(line)
open(sys.argv[1] if len(sys.argv) > 1 else "golden.h", "w").write("\n".join(lines))
