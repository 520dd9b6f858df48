#!/usr/bin/env python3
"""Makes the golden vectors: what transformers (f32) computes from the dequantised weights of the very model file.

    make_golden.py real MODEL.gguf OUT.golden          20 prompts x 128 positions, the reference's top 256 and the rest
    make_golden.py tiny MODEL.gguf OUT.golden          whole logits of a tiny model (f32)

Format of `real` (little-endian): magic "HGLD1\\0\\0\\0", u32 prompts, positions, top, vocabulary; then per prompt i32 ids[positions] and
per position: u24 id[top] by falling probability, u16 step[top] (log probability falls by step/2048 from entry to entry, from 0 before the first), f32 log of
the probability of everything else. Format of `tiny`: magic "HGLT1\\0\\0\\0", u32 positions, vocabulary; i32 ids; f32 logits.
"""
import os
import struct
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

POSITIONS, TOP = 128, 256
HERE = os.path.dirname(os.path.abspath(__file__))


def load(path):
    torch.manual_seed(0)
    where = {"gguf_file": os.path.basename(path)}
    config = AutoConfig.from_pretrained(os.path.dirname(path), **where)
    if hasattr(config, "query_pre_attn_scalar"):  # GGUF does not carry it: it is the head's width but for the 27b
        config.query_pre_attn_scalar = config.head_dim
    model = AutoModelForCausalLM.from_pretrained(
        os.path.dirname(path), config=config, dtype=torch.float32, attn_implementation="eager", **where)
    return model.eval()


def real(path, out):
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path))
    prompts = open(os.path.join(HERE, "prompts.txt"), encoding="utf-8").read().strip("\n").split("\n%%\n")
    model = load(path)
    vocab = model.get_input_embeddings().weight.shape[0]
    with open(out, "wb") as f:
        f.write(b"HGLD1\0\0\0" + struct.pack("<4I", len(prompts), POSITIONS, TOP, vocab))
        for i in range(len(prompts)):
            text = "\n\n".join(prompts[i:] + prompts[:i])
            ids = tokenizer(text)["input_ids"][:POSITIONS]
            f.write(np.array(ids, "<i4").tobytes())
            with torch.no_grad():
                logp = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
            index = torch.topk(logp, TOP, dim=-1).indices.sort(-1).values
            value, order = torch.sort(logp.gather(-1, index), dim=-1, descending=True, stable=True)  # of equals the smaller id first
            index = index.gather(-1, order)
            rest = torch.logsumexp(logp.scatter(-1, index, -torch.inf), -1).float().numpy()
            value, index = value.numpy(), index.numpy().astype("<u4")
            level = np.minimum(np.round(-value * 2048), 65535 * 1.0).astype(np.int64)
            steps = np.diff(level, axis=1, prepend=0).astype("<u2")
            for p in range(POSITIONS):
                f.write(index[p].view(np.uint8).reshape(TOP, 4)[:, :3].tobytes() + steps[p].tobytes() + struct.pack("<f", rest[p]))
            print(f"\r{os.path.basename(path)}: prompt {i + 1} of {len(prompts)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def tiny(path, out):
    model = load(path)
    vocab = model.get_input_embeddings().weight.shape[0]
    ids = [(7 * i * i + 3 * i + 11) % vocab for i in range(96)]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float().numpy()
    with open(out, "wb") as f:
        f.write(b"HGLT1\0\0\0" + struct.pack("<2I", len(ids), vocab))
        f.write(np.array(ids, "<i4").tobytes() + logits.astype("<f4").tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("real", "tiny"):
        sys.exit(__doc__)
    {"real": real, "tiny": tiny}[sys.argv[1]](os.path.abspath(sys.argv[2]), sys.argv[3])
