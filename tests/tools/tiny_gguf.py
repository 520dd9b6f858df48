#!/usr/bin/env python3
"""Writes a tiny random model as a GGUF file: every family Hearth knows, with a small but real tokenizer. Standard library only.

Owns: the GGUF writer the tests share (class Gguf), the tiny vocabularies, the tiny models (function write). Weights are a
function of (seed, tensor name) alone and use no libm, so a file is the same on every machine. Metadata keys and tensor names
are those that converters for these families write.

    tests/tools/tiny_gguf.py --family llama --out x.gguf [--layers 2 --embd 128 --heads 4 --kv-heads 2 --vocab 512 --dtype Q8_0]
"""
import argparse
import random
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
# name -> (ggml number, elements per block, bytes per block)
DTYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
    "MXFP4": (39, 32, 17), "NVFP4": (40, 64, 36),
}
FILE_TYPE = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q4_K": 15, "Q5_K": 17, "Q6_K": 18, "BF16": 32,
             "MXFP4": 38, "NVFP4": 39}
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}  # for rows that are no multiple of 256, as quantisers do
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def string(s):
    b = s if isinstance(s, bytes) else s.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


class Gguf:
    """Collects keys and tensors in order; bytes() lays them out. Nothing is checked, so that tests can also write nonsense."""

    def __init__(self, version=3, alignment=None):
        self.version, self.alignment = version, alignment or 32
        self.keys, self.tensors = [], []
        if alignment:
            self.add("general.alignment", U32, alignment)

    def add(self, key, kind, value, elem=None):
        self.keys.append((key, kind, value, elem))

    def tensor(self, name, dims, dtype, data, offset=None):
        """dims[0] is the row length; dtype a name of DTYPES or a bare ggml number."""
        self.tensors.append((name, list(dims), DTYPES[dtype][0] if isinstance(dtype, str) else dtype, data, offset))

    @staticmethod
    def value(kind, value, elem):
        if kind == STRING:
            return string(value)
        if kind == ARRAY:
            body = b"".join(map(string, value)) if elem == STRING else struct.pack("<%d%s" % (len(value), PACK[elem]), *value)
            return struct.pack("<IQ", elem, len(value)) + body
        return struct.pack("<" + PACK[kind], value)

    def header(self):
        out = [b"GGUF", struct.pack("<IQQ", self.version, len(self.tensors), len(self.keys))]
        for key, kind, value, elem in self.keys:
            out += [string(key), struct.pack("<I", kind), self.value(kind, value, elem)]
        at = 0
        for name, dims, number, data, offset in self.tensors:
            out += [string(name), struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, number, at if offset is None else offset)]
            at += -(-len(data) // self.alignment) * self.alignment
        return b"".join(out)

    def pieces(self):
        head = self.header()
        yield head
        yield b"\0" * (-len(head) % self.alignment)
        for _, _, _, data, _ in self.tensors:
            yield data
            yield b"\0" * (-len(data) % self.alignment)

    def bytes(self):
        return b"".join(self.pieces())


# ---- numbers ----

def half(x):
    return struct.pack("<e", x)


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def as_half(x):
    return struct.unpack("<e", half(x))[0]


def bf16(x):
    u = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.pack("<H", (u + 0x7FFF + ((u >> 16) & 1)) >> 16)


def nibbles(q):
    return bytes(q[j] | q[j + 16] << 4 for j in range(16))


def high_bits(q):
    return struct.pack("<I", sum((v >> 4) << j for j, v in enumerate(q)))


def clamp(v, top):
    return max(0, min(top, int(v)))


def block_q8_0(x, _):
    d = as_half(max(map(abs, x)) / 127)
    return half(d) + struct.pack("32b", *(max(-127, min(127, round(v / d))) if d else 0 for v in x))


def block_symmetric(x, bits):
    top = 1 << bits
    d = as_half(max(x, key=abs) / -(top // 2))
    q = [clamp(v / d + top // 2 + 0.5, top - 1) if d else top // 2 for v in x]
    return half(d) + (high_bits(q) if bits == 5 else b"") + nibbles([v & 15 for v in q])


def block_affine(x, bits):
    top = (1 << bits) - 1
    d, m = as_half((max(x) - min(x)) / top), as_half(min(x))
    q = [clamp((v - m) / d + 0.5, top) if d else 0 for v in x]
    return half(d) + half(m) + (high_bits(q) if bits == 5 else b"") + nibbles([v & 15 for v in q])


def block_random_k(kind):
    """K-quants: any codes under sane scales are a valid block, so codes are drawn, not searched. a = wanted |w| at most."""
    def block(x, rng):
        a = max(map(abs, x)) or 1.0
        if kind == "Q6_K":
            return rng.randbytes(192) + bytes(rng.randrange(16, 64) for _ in range(16)) + half(a / (63 * 32))
        q = 15 if kind == "Q4_K" else 31
        scales = bytes(rng.randrange(256) for _ in range(12))
        # w = d*sc*q - dmin*m with sc, m below 64: centred when dmin*m is about half of d*sc*q
        return half(2 * a / (63 * q)) + half(a / 63) + scales + rng.randbytes(128 if kind == "Q4_K" else 160)
    return block


E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]


def e2m1(v):
    """The nearest code; of two as near, the smaller magnitude."""
    return min(range(8), key=lambda c: abs(E2M1[c] - abs(v))) | (8 if v < 0 else 0)


def e4m3(code):
    return (8 + (code & 7)) * 2.0 ** ((code >> 3) - 10) if code >= 8 else code * 2.0 ** -9


def block_mxfp4(x, _):
    e = 0
    while e < 254 and max(map(abs, x)) >= 8 * 2.0 ** (e - 127):
        e += 1
    return bytes([e]) + nibbles([e2m1(v / 2.0 ** (e - 127)) for v in x])


def block_nvfp4(x, _):
    scales, codes = b"", b""
    for i in range(0, 64, 16):
        part = x[i:i + 16]
        s = min(range(1, 127), key=lambda c: abs(e4m3(c) - max(map(abs, part)) / 6))
        q = [e2m1(v / e4m3(s)) for v in part]
        scales += bytes([s])
        codes += bytes(q[j] | q[j + 8] << 4 for j in range(8))
    return scales + codes


def decode_fp4(data, dtype):
    """The numbers of MXFP4 or NVFP4 data."""
    out, size, n = [], DTYPES[dtype][2], 8 if dtype == "NVFP4" else 16
    for at in range(0, len(data), size):
        scales = [e4m3(b) for b in data[at:at + 4]] if dtype == "NVFP4" else [2.0 ** (data[at] - 127)]
        codes = data[at + (4 if dtype == "NVFP4" else 1):at + size]
        for s, scale in enumerate(scales):
            part = codes[n * s:n * s + n]
            out += [scale * E2M1[q & 7] * (-1 if q & 8 else 1) for q in [b & 15 for b in part] + [b >> 4 for b in part]]
    return out


ENCODE = {
    "MXFP4": block_mxfp4, "NVFP4": block_nvfp4,
    "Q8_0": block_q8_0, "Q4_0": lambda x, _: block_symmetric(x, 4), "Q5_0": lambda x, _: block_symmetric(x, 5),
    "Q4_1": lambda x, _: block_affine(x, 4), "Q5_1": lambda x, _: block_affine(x, 5),
    "Q4_K": block_random_k("Q4_K"), "Q5_K": block_random_k("Q5_K"), "Q6_K": block_random_k("Q6_K"),
}


def encode(values, dtype, rng):
    if dtype == "F32":
        return struct.pack("<%df" % len(values), *values)
    if dtype == "F16":
        return struct.pack("<%de" % len(values), *values)
    if dtype == "BF16":
        return b"".join(map(bf16, values))
    n = DTYPES[dtype][1]
    return b"".join(ENCODE[dtype](values[i:i + n], rng) for i in range(0, len(values), n))


# ---- vocabularies ----

TEXT = """The hearth is the warm middle of the house, and in the evening everyone comes to sit there. What is the answer to the
question? The answer is in the text: one, two, three, four, five. She said that there is nothing to do, and then they went on
with the work. Write a function that returns the sum of the numbers in the list. def main(): for i in range(10): print(i)
int main(void) { return 0; } if (x == y) { x = x + 1; } else { y = y - 1; } Once upon a time there was a small machine that
could think about the weather, the water and the wind. It's not what I thought; they're here and we'll see. In 2024 there were
12345 people. Größe und Übung, où est la forêt, El niño come piña, привет мир и всем людям, 你好世界, こんにちは世界. Hello
world! Hello there, how are you today? I am fine, thank you, and you? user assistant system message hello hello the the the"""


def byte_chars():
    """The printable stand-ins of byte-level BPE: byte -> character."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def train_bpe(words, n):
    """n merges, most frequent pair first; ties go to the smaller pair, so the result depends on nothing else."""
    words, merges = [list(w) for w in words], []
    while len(merges) < n:
        count = {}
        for w in words:
            for pair in zip(w, w[1:]):
                count[pair] = count.get(pair, 0) + 1
        if not count:
            break
        best = min(count, key=lambda p: (-count[p], p))
        merges.append(best)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = [w[i] + w[i + 1]]
                i += 1
    return merges


def split_words(mark):
    """Words with their leading space, spelled `mark`; punctuation apart."""
    out, word = [], ""
    for c in TEXT.replace("\n", " "):
        if c == " " or not c.isalnum():
            out.append(word)
            word = mark if c == " " else c
        else:
            if word and not (word[-1].isalnum() or word == mark):
                out.append(word)
                word = ""
            word += c
    return [w for w in out + [word] if w]


def vocab_bpe(g, family, size):
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    chars = byte_chars()
    to_chars = lambda w: "".join(chars[b] for b in w.encode("utf-8"))
    merges = train_bpe([to_chars(w) for w in split_words(" ")], max(0, size - 256 - len(specials)))
    tokens, seen = [chars[b] for b in sorted(chars)], set()
    for a, b in merges:
        if a + b not in seen:
            seen.add(a + b)
            tokens.append(a + b)
    first = family == "llama"  # smollm has its specials first, qwen2 last
    types = [NORMAL] * len(tokens)
    tokens, types = (specials + tokens, [CONTROL] * 3 + types) if first else (tokens + specials, types + [CONTROL] * 3)
    base = 0 if first else len(tokens) - 3
    while len(tokens) < size:
        tokens.append("[PAD%d]" % len(tokens))
        types.append(UNUSED)
    g.add("tokenizer.ggml.model", STRING, "gpt2")
    g.add("tokenizer.ggml.pre", STRING, "smollm" if first else "qwen2")
    g.add("tokenizer.ggml.tokens", ARRAY, tokens, STRING)
    g.add("tokenizer.ggml.token_type", ARRAY, types, I32)
    g.add("tokenizer.ggml.merges", ARRAY, [a + " " + b for a, b in merges], STRING)
    g.add("tokenizer.ggml.bos_token_id", U32, base + (1 if first else 0))
    g.add("tokenizer.ggml.eos_token_id", U32, base + 2)
    g.add("tokenizer.ggml.padding_token_id", U32, base + (2 if first else 0))
    if first:
        g.add("tokenizer.ggml.unknown_token_id", U32, 0)
    g.add("tokenizer.ggml.add_bos_token", BOOL, False)
    return len(tokens)


def vocab_spm(g, size):
    """SentencePiece BPE as Gemma has it: specials, bytes, merged pieces with falling scores, then single characters."""
    space = "\u2581"
    words = split_words(space)
    chars = sorted(set("".join(words)) | set(map(chr, range(33, 127))) | {space})
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "[multimodal]", "<unused0>", "<start_of_turn>", "<end_of_turn>"]
    types = [CONTROL] * 5 + [USER_DEFINED] + [CONTROL] * 3
    tokens += ["\n", "\n\n", space * 2, space * 4]
    types += [NORMAL, USER_DEFINED, USER_DEFINED, USER_DEFINED]
    scores = [-1000.0] * len(tokens)
    scores[9] = -2000.0  # the newline is an ordinary character
    tokens += ["<0x%02X>" % b for b in range(256)]
    types += [BYTE] * 256
    scores += [-1000.0] * 256
    taken = set(tokens) | set(chars)
    rank = 0
    for a, b in train_bpe(words, max(0, size - len(tokens) - len(chars))):
        if a + b not in taken:
            taken.add(a + b)
            tokens.append(a + b)
            types.append(NORMAL)
            scores.append(-float(rank))
            rank += 1
    for i, c in enumerate(chars):
        tokens.append(c)
        types.append(NORMAL)
        scores.append(-float(10000 + i))
    while len(tokens) < size:
        tokens.append("<unused%d>" % len(tokens))
        types.append(CONTROL)
        scores.append(-1000.0)
    g.add("tokenizer.ggml.model", STRING, "llama")
    g.add("tokenizer.ggml.pre", STRING, "default")
    g.add("tokenizer.ggml.tokens", ARRAY, tokens, STRING)
    g.add("tokenizer.ggml.scores", ARRAY, scores, F32)
    g.add("tokenizer.ggml.token_type", ARRAY, types, I32)
    for name, v in (("bos", 2), ("eos", 1), ("unknown", 3), ("padding", 0)):
        g.add("tokenizer.ggml.%s_token_id" % name, U32, v)
    for name, v in (("add_bos_token", True), ("add_sep_token", False), ("add_eos_token", False), ("add_space_prefix", False)):
        g.add("tokenizer.ggml." + name, BOOL, v)
    return len(tokens)


CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
TURNS = ("{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
         "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}")


# ---- models ----

def tensors_of(family, o, vocab):
    """(name, dims, kind) in file order; kind: "w" matrix, "norm", "bias"."""
    e, f, q, kv = o["embd"], o["ff"], o["heads"] * o["head_dim"], o["kv_heads"] * o["head_dim"]
    yield "token_embd.weight", (e, vocab), "embd"
    for i in range(o["layers"]):
        b = "blk.%d." % i
        yield b + "attn_norm.weight", (e,), "norm"
        for name, rows in (("attn_q", q), ("attn_k", kv), ("attn_v", kv)):
            yield b + name + ".weight", (e, rows), "w"
            if family == "qwen2":
                yield b + name + ".bias", (rows,), "bias"
        if family == "gemma3":
            yield b + "attn_q_norm.weight", (o["head_dim"],), "norm"
            yield b + "attn_k_norm.weight", (o["head_dim"],), "norm"
            yield b + "post_attention_norm.weight", (e,), "norm"
            yield b + "post_ffw_norm.weight", (e,), "norm"
        yield b + "attn_output.weight", (q, e), "w"
        yield b + "ffn_norm.weight", (e,), "norm"
        yield b + "ffn_gate.weight", (e, f), "w"
        yield b + "ffn_up.weight", (e, f), "w"
        yield b + "ffn_down.weight", (f, e), "w"
    yield "output_norm.weight", (e,), "norm"
    if not o["tied"]:
        yield "output.weight", (e, vocab), "embd"


def fill(name, dims, kind, seed, outliers=1):
    """outliers: what one norm weight in 32 is multiplied by, so that single activations stand out of their groups."""
    rng = random.Random("%s/%s" % (seed, name))
    n = dims[0] * (dims[1] if len(dims) > 1 else 1)
    if kind == "norm":
        values = [(1.0 + 0.2 * (rng.random() - 0.5)) * (outliers if i % 32 == 7 else 1) for i in range(n)]
    elif kind == "bias":
        values = [0.4 * (rng.random() - 0.5) for _ in range(n)]
    else:
        a = (3.0 / dims[0]) ** 0.5 * (2.0 if kind == "embd" else 1.0)  # variance 1/k (4/k for tables)
        values = [a * (2.0 * rng.random() - 1.0) for _ in range(n)]
    return values, rng


def add_tensor(g, name, dims, kind, dtype, o):
    """NVFP4 as its writers have it: divided by a number per tensor, which stands beside it, as does one for activations, which is for
    others. As a twin, MXFP4 and NVFP4 are written as F32 with the same numbers."""
    values, rng = fill(name, dims, kind, o["seed"], o["outliers"])
    scale = f32(max(map(abs, values)) / (6 * 448)) if dtype == "NVFP4" and o["sidecars"] else 1.0
    data = encode([v / scale for v in values] if scale != 1.0 else values, dtype, rng)
    if o["twin"] and dtype in ("MXFP4", "NVFP4"):
        g.tensor(name, dims, "F32", encode([scale * v for v in decode_fp4(data, dtype)], "F32", rng))
        return
    g.tensor(name, dims, dtype, data)
    if scale != 1.0:
        base = name[:-len("weight")]
        g.tensor(base + "scale", (1,), "F32", struct.pack("<f", scale))
        g.tensor(base + "input_scale", (1,), "F32", struct.pack("<f", 7.0))


DEFAULTS = dict(seed=1, layers=None, embd=128, heads=4, kv_heads=2, head_dim=None, ff=256, vocab=None, ctx=2048, dtype="F32",
                embd_dtype=None, tied=None, template=None, window=16, rope_base=None, version=3, alignment=None, name=None,
                sidecars=True, twin=False, outliers=1)


def build(family, **options):
    """A Gguf of the family; options as in DEFAULTS."""
    o = {**DEFAULTS, **options}
    gemma = family == "gemma3"
    o["vocab"] = o["vocab"] or (768 if gemma else 512)  # byte and character pieces take half of gemma's
    o["layers"] = o["layers"] or (6 if gemma else 2)  # gemma3: every sixth layer attends globally
    o["head_dim"] = o["head_dim"] or (64 if gemma else o["embd"] // o["heads"])
    o["tied"] = family != "qwen2" if o["tied"] is None else o["tied"]
    o["rope_base"] = o["rope_base"] or {"llama": 100000.0, "qwen2": 1000000.0, "gemma3": 1000000.0}[family]
    g = Gguf(o["version"], o["alignment"])
    g.add("general.architecture", STRING, family)
    g.add("general.type", STRING, "model")
    g.add("general.name", STRING, o["name"] or "Tiny random " + family)
    g.add("general.size_label", STRING, "tiny")
    g.add("general.license", STRING, "apache-2.0")
    k = family + "."
    g.add(k + "block_count", U32, o["layers"])
    g.add(k + "context_length", U32, o["ctx"])
    g.add(k + "embedding_length", U32, o["embd"])
    g.add(k + "feed_forward_length", U32, o["ff"])
    g.add(k + "attention.head_count", U32, o["heads"])
    g.add(k + "attention.head_count_kv", U32, o["kv_heads"])
    g.add(k + "rope.freq_base", F32, o["rope_base"])
    g.add(k + "attention.layer_norm_rms_epsilon", F32, 1e-5 if family == "llama" else 1e-6)
    if gemma:
        g.add(k + "attention.key_length", U32, o["head_dim"])
        g.add(k + "attention.value_length", U32, o["head_dim"])
        g.add(k + "attention.sliding_window", U32, o["window"])
    elif family == "llama":
        g.add(k + "rope.dimension_count", U32, o["head_dim"])
    g.add("general.file_type", U32, FILE_TYPE[o["dtype"]])
    at = len(g.keys)
    vocab = vocab_spm(g, o["vocab"]) if gemma else vocab_bpe(g, family, o["vocab"])
    if family == "llama":
        g.keys.insert(at, (k + "vocab_size", U32, vocab, None))
    template = o["template"] if o["template"] is not None else ("" if gemma else CHATML)
    if template == "default":
        template = TURNS if gemma else CHATML
    if template:
        g.add("tokenizer.chat_template", STRING, template)
    if o["dtype"] not in ("F32", "F16", "BF16"):
        g.add("general.quantization_version", U32, 2)
    for name, dims, kind in tensors_of(family, o, vocab):
        dtype = (o["embd_dtype"] if kind == "embd" else None) or o["dtype"]
        if dims[0] % DTYPES[dtype][1]:
            dtype = FALLBACK.get(dtype, dtype)
        if dtype == "NVFP4" and name == "token_embd.weight":  # looked up, not multiplied: nothing would apply its scale
            dtype = "F16"
        add_tensor(g, name, dims, kind, "F32" if len(dims) == 1 else dtype, o)
    return g


def write(path, family, **options):
    with open(path, "wb") as f:
        f.writelines(build(family, **options).pieces())


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--family", choices=["llama", "qwen2", "gemma3"], default="llama")
    p.add_argument("--out", required=True)
    p.add_argument("--dtype", choices=sorted(DTYPES), default="F32")
    p.add_argument("--embd-dtype", choices=sorted(DTYPES), help="of token_embd and output; else as --dtype")
    for name in ("seed", "layers", "embd", "heads", "kv-heads", "head-dim", "ff", "vocab", "ctx", "window", "version", "alignment", "outliers"):
        p.add_argument("--" + name, type=int, default=DEFAULTS[name.replace("-", "_")])
    p.add_argument("--rope-base", type=float)
    p.add_argument("--tied", action=argparse.BooleanOptionalAction, help="no output.weight; else as the family's real models")
    p.add_argument("--sidecars", action=argparse.BooleanOptionalAction, default=True, help="NVFP4's scales per tensor")
    p.add_argument("--twin", action="store_true", help="MXFP4 and NVFP4 as F32 with the same numbers")
    p.add_argument("--template", help='a chat template, "default" for the built-in one, "" for none')
    p.add_argument("--name")
    o = vars(p.parse_args())
    write(o.pop("out"), o.pop("family"), **o)


if __name__ == "__main__":
    main()
