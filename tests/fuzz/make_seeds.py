#!/usr/bin/env python3
"""Writes the seeds of the GGUF fuzz target into tests/fuzz/seeds/gguf: tiny valid files of both versions, and one mutant per
check of the parser. Deterministic; the files are in the tree, this script says what they are."""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
from tiny_gguf import (ARRAY, BOOL, F32, F64, I16, I32, I64, I8, STRING, U16, U32, U64, U8, Gguf)  # noqa: E402


def small(version=3, alignment=None):
    g = Gguf(version, alignment)
    g.add("general.architecture", STRING, "llama")
    g.add("llama.block_count", U32, 1)
    g.add("llama.rope.freq_base", F32, 10000.0)
    g.add("tokenizer.ggml.tokens", ARRAY, ["a", "b", "", "\u00e4"], STRING)
    g.add("tokenizer.ggml.scores", ARRAY, [0.0, -1.0, -2.0, -3.0], F32)
    g.tensor("token_embd.weight", (32, 4), "Q8_0", bytes(4 * 34))
    g.tensor("output_norm.weight", (32,), "F32", bytes(128))
    return g


def every_type():
    g = Gguf()
    for kind, v in ((U8, 255), (I8, -1), (U16, 65535), (I16, -1), (U32, 1), (I32, -1), (F32, 1.0), (BOOL, True), (U64, 2**64 - 1),
                    (I64, -1), (F64, 1e300), (STRING, "text")):
        g.add("k%d" % kind, kind, v)
        g.add("a%d" % kind, ARRAY, [v, v], kind)
    return g


def replaced(data, old, new):
    assert old in data
    return data.replace(old, new, 1)


def seeds():
    ok = small().bytes()
    yield "valid_v3", ok
    yield "valid_v2", small(2).bytes()
    yield "valid_align64", small(3, 64).bytes()
    yield "valid_types", every_type().bytes()
    yield "valid_empty", Gguf().bytes()
    for dtype, k, size in (("Q4_K", 256, 144), ("Q6_K", 256, 210), ("Q5_1", 32, 24), ("BF16", 3, 6), ("MXFP4", 32, 17), ("NVFP4", 64, 36)):
        g = Gguf()
        g.tensor("t", (k, 1, 1, 1), dtype, bytes(size))
        yield "valid_" + dtype.lower(), g.bytes()
    yield "cut_header", ok[:100]
    yield "cut_data", ok[:-1]
    yield "version_big_endian", replaced(ok, b"GGUF\x03\0\0\0", b"GGUF\0\0\0\x03")
    yield "version_1", replaced(ok, b"GGUF\x03", b"GGUF\x01")
    yield "string_length", replaced(ok, struct.pack("<Q", 5) + b"llama", struct.pack("<Q", 2**63) + b"llama")
    yield "array_length", replaced(ok, struct.pack("<IQ", STRING, 4), struct.pack("<IQ", STRING, 2**61))
    yield "array_nested", replaced(ok, struct.pack("<IQ", STRING, 4), struct.pack("<IQ", ARRAY, 4))
    yield "tensor_count", ok[:8] + struct.pack("<Q", 2**40) + ok[16:]
    yield "key_count", ok[:16] + struct.pack("<Q", 2**40) + ok[24:]
    yield "dims_0", replaced(ok, struct.pack("<IQ", 1, 32), struct.pack("<IQ", 0, 32))
    yield "dims_overflow", replaced(ok, struct.pack("<IQQ", 2, 32, 4), struct.pack("<IQQ", 2, 2**62, 4))
    yield "type_q3_k", replaced(ok, struct.pack("<QQI", 32, 4, 8), struct.pack("<QQI", 32, 4, 11))
    g = Gguf()
    g.tensor("t", (96, 2), "NVFP4", bytes(108))
    yield "row_nvfp4", g.bytes()
    for name, offset in (("offset_odd", 1), ("offset_huge", 2**64 - 32)):
        g = Gguf()
        g.tensor("t", (4,), "F32", bytes(16), offset)
        yield name, g.bytes()
    g = small()
    g.tensors.append(g.tensors[0])
    yield "tensor_twice", g.bytes()
    g = small()
    g.keys.append(g.keys[0])
    yield "key_twice", g.bytes()


def main():
    folder = os.path.join(HERE, "seeds", "gguf")
    os.makedirs(folder, exist_ok=True)
    for name, data in seeds():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


main()
