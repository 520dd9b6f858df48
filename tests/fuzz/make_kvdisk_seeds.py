#!/usr/bin/env python3
"""Writes the seeds of the disk tier's fuzz target into tests/fuzz/seeds/kvdisk: records with checksums left to the target to fill in
(the first byte says so), and what may be wrong with them. Deterministic; the files are in the tree, this script says what they are."""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
RIGHT, TEAR = 3, 4


def record(parent, tokens, fill, size=1024, magic=b"hearthkv", version=1, cls=0, n_tok=None, bytes_=None):
    n = len(tokens) if n_tok is None else n_tok
    head = magic + struct.pack("<IIIIQQQ", version, cls, n, 0, size if bytes_ is None else bytes_, *parent)
    return head + struct.pack("<64i", *(list(tokens) + [0] * (64 - len(tokens)))) + bytes(16) + bytes([fill]) * size


def seeds():
    root, next_ = (11, 12), (13, 14)
    full, part = list(range(64)), list(range(64, 94))
    two = record(root, full, 1) + record(next_, part, 2)
    yield "empty", bytes([0])
    yield "unsummed", bytes([0]) + two
    yield "heads", bytes([1]) + two
    yield "whole", bytes([RIGHT]) + two
    yield "siblings", bytes([RIGHT]) + record(root, full, 1) + record(root, full[:20] + part, 2) + record(root, full[:20], 3)
    yield "twice", bytes([RIGHT]) + record(root, full, 1) + record(root, full, 2)
    yield "classes", bytes([RIGHT]) + record(root, full, 1) + record(root, full, 2, cls=1) + record(root, full, 3, size=2048)
    yield "cut", bytes([RIGHT]) + two[:-1]
    yield "cut_head", bytes([RIGHT]) + two[:-1024 - 20]
    yield "torn_head", bytes([RIGHT | TEAR]) + two + struct.pack(">H", 60) + b"\1"
    yield "torn_block", bytes([RIGHT | TEAR]) + two + struct.pack(">H", 400) + b"\1"
    for name, args in (("magic", {"magic": b"hearthkw"}), ("version", {"version": 2}), ("class", {"cls": 2}), ("no_tokens", {"n_tok": 0}),
                       ("many_tokens", {"n_tok": 65}), ("small", {"size": 512}), ("huge", {"bytes_": 2**63}), ("wraps", {"bytes_": 2**64 - 328})):
        yield name, bytes([RIGHT]) + record(root, full, 1) + record(root, part, 1, **args) + record(next_, part, 2)


folder = os.path.join(HERE, "seeds", "kvdisk")
os.makedirs(folder, exist_ok=True)
for name, data in seeds():
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)
