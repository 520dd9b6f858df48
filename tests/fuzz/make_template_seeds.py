#!/usr/bin/env python3
"""Writes the seeds of the template fuzz target into tests/fuzz/seeds/template: the oracle suite's snippets, a few to a file, with
its context, and some text to encode. Deterministic."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "text"))
import corpus  # noqa: E402
import template_cases  # noqa: E402

OUT = os.path.join(HERE, "seeds", "template")


def write(name, data):
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(data)


def main():
    os.makedirs(OUT, exist_ok=True)
    context = json.dumps({k: v for k, v in template_cases.CTX.items() if k not in ("big", "small")}, ensure_ascii=False).encode()
    snippets = template_cases.snippets()
    for i in range(0, len(snippets), 6):
        write(f"snippets-{i // 6:02}", "\n".join(snippets[i:i + 6]).encode() + b"\0" + context)
    for i, s in enumerate(snippets[::16]):
        write(f"one-{i:02}", s.encode() + b"\0{}")
    chat = ("{%- for m in messages %}\n{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}\n{%- endfor %}\n"
            "{%- if tools %}{{ tools | tojson(indent=2) }}{% endif %}")
    messages = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "tools": [template_cases.WEATHER]}
    write("chat", chat.encode() + b"\0" + json.dumps(messages).encode())
    for i, s in enumerate(corpus.random_strings(12, seed=3)):
        write(f"text-{i:02}", b"E" + s.encode())
    write("bytes", b"E" + bytes(range(256)) + b"<|im_end|><|im_start|><tool>hello hello\n\n  ab<eos>\xc3")


if __name__ == "__main__":
    main()
