"""Real text and random text, the same on every machine.

Real: lines of a pinned package that carries translations in some hundred languages beside Python, JavaScript, CSS and HTML.
Random: strings over all of Unicode, made to hurt: combining marks, controls, unassigned and private characters, digits of every
script, spaces of every kind.
"""
import os
import random
import subprocess
import sys
import zipfile

PACKAGE = "Django==5.1.4"


def fetch(cache):
    folder = os.path.join(cache, "text")
    os.makedirs(folder, exist_ok=True)
    wheel = os.path.join(folder, "Django-5.1.4-py3-none-any.whl")
    if not os.path.exists(wheel):
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE], check=True)
    return wheel


def real_lines(cache, count, seed=1):
    """`count` lines, half translations and half code; every tenth entry is a block of several lines."""
    prose, code = [], []
    with zipfile.ZipFile(fetch(cache)) as z:
        for name in sorted(z.namelist()):
            if name.endswith(".po"):
                into = prose
            elif name.endswith((".py", ".js", ".css", ".html", ".txt", ".md")):
                into = code
            else:
                continue
            into.append(z.read(name).decode("utf-8", "strict").replace("\r\n", "\n"))
    rng = random.Random(seed)
    out = []
    for i in range(count):
        lines = None
        while not lines:
            text = rng.choice(prose if i % 2 else code)
            all_lines = text.split("\n")
            at = rng.randrange(len(all_lines))
            lines = "\n".join(all_lines[at:at + (rng.randrange(2, 12) if i % 10 == 0 else 1)])[:3000]
        out.append(lines)
    return out


SPACES = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x2003, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
SPECIAL = [0x17F, 0x212A, 0xFB05, 0xFB06, 0x2581, 0x180E, 0x200B, 0x200D, 0xFEFF, 0xFFFD, 0xFFFE, 0x10FFFF, 0xE000, 0xF0000, 0x345,
           0x1E9E, 0xDF, 0x130, 0x131, 0x149, 0x0]
BLOCKS = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00), (0xE00, 0x1000),
          (0x1100, 0x1200), (0x1AB0, 0x1B00), (0x1DC0, 0x2000), (0x2000, 0x2100), (0x2150, 0x2190), (0x2460, 0x2500),
          (0x3040, 0x3100), (0x3099, 0x309B), (0x4E00, 0x5000), (0xA640, 0xA6A0), (0xAC00, 0xAD00), (0xF900, 0xFB50), (0xFE20, 0xFE30),
          (0xFF00, 0xFFF0), (0x10000, 0x11000), (0x11000, 0x12000), (0x16A00, 0x17000), (0x1D100, 0x1D200), (0x1D400, 0x1D800),
          (0x1E900, 0x1EA00), (0x1F300, 0x1FB00), (0x2F800, 0x2FA20), (0xE0000, 0xE0200)]
WORDS = ["'s", "'S", "'\u017f", "'t", "'RE", "'ve", "'Ll", "'d", "I'm", "''", " '", "\r\n", "\n\n", "  ", "   ", "\t\t", " \n ", "123", "4567", "the", " a",
         "<|im_end|", "|>", "<table>", "\u2581\u2581", "e\u0301", "\u1100\u1161\u11a8", "\u0e33", "ABC", "x1", "_", "://", "...", "\u0915\u094d\u0937", "\U0001F468\u200d\U0001F469"]


def random_strings(count, seed=2):
    rng = random.Random(seed)

    def char():
        k = rng.random()
        if k < 0.45:
            a, b = rng.choice(BLOCKS)
            return chr(rng.randrange(a, b))
        if k < 0.55:
            return chr(rng.choice(SPACES))
        if k < 0.60:
            return chr(rng.choice(SPECIAL))
        if k < 0.80:
            return rng.choice(WORDS)
        if k < 0.9:
            return chr(rng.randrange(0x20, 0x7F))
        c = rng.randrange(0x110000 - 0x800)
        return chr(c if c < 0xD800 else c + 0x800)

    return ["".join(char() for _ in range(rng.randrange(1, 40))) for _ in range(count)]
