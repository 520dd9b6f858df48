"""peer_build: llama.cpp compiled on this machine, at several instruction levels, each in a virtual environment of its own.

What counts as the peer is the fastest llama.cpp that runs correctly here, so `native` is compiled with all that the compiler
finds (-march=native, AMX included) and must pass a self-test; should it crash or answer nonsense, `noamx` takes its place and
the caller is told. `avx2` is what an AVX2-only machine would run.

gcc 12 needs help: its _tile_loadconfig names 8 of the 64 bytes that ldtilecfg reads, so the rest of the tile configuration is
dropped as dead and the first prefill ends in a segmentation fault (GCC PR 114098). TILE_FIX says what is read."""
import json
import os
import subprocess
import sys
import tarfile
import venv

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHILD = os.path.join(ROOT, "bench", "peer_llama.py")
WHEEL, NATIVE = "xllamacpp==2026.10.11549", "llama-cpp-python==0.3.36"
AVX2 = ["AVX", "AVX2", "FMA", "F16C", "BMI2", "SSE42"]
MORE = {"avx_vnni": "AVX_VNNI", "avx512f": "AVX512", "avx512vbmi": "AVX512_VBMI", "avx512_vnni": "AVX512_VNNI", "avx512_bf16": "AVX512_BF16"}
TILE_FIX = """#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(p) __asm__ volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])(p)))
#endif
"""


def note(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


def cpu_flags():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("flags"):
                return set(line.split(":")[1].split())
    return set()


def cmake_args(variant, fix):
    """The definitions that make a variant."""
    out = [f"-DCMAKE_CXX_FLAGS=-include{fix}", "-DLLAVA_BUILD=OFF"]
    if variant == "native":
        return out
    on = AVX2 + ([v for k, v in MORE.items() if k in cpu_flags()] if variant == "noamx" else [])
    off = [v for v in MORE.values() if v not in on]
    return out + ["-DGGML_NATIVE=OFF"] + [f"-DGGML_{x}=ON" for x in on] + [f"-DGGML_{x}=OFF" for x in off]


def source(python):
    """The sources at one place, so that ccache finds what variants share."""
    folder = os.path.realpath(os.path.join(ROOT, ".cache", "peers-src"))  # the flags name it, whoever asks
    tree = os.path.join(folder, NATIVE.replace("llama-cpp-python==", "llama_cpp_python-"))
    if not os.path.isdir(tree):
        os.makedirs(folder, exist_ok=True)
        subprocess.run([python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "llama-cpp-python", "-d", folder, NATIVE], check=True)
        with tarfile.open(tree + ".tar.gz") as t:
            t.extractall(folder)
    fix = os.path.join(folder, "tile.h")
    with open(fix, "w") as f:
        f.write(TILE_FIX)
    return tree, fix


def make(variant):
    """The Python of a virtual environment that has the variant; made on first use."""
    home = os.path.join(ROOT, ".cache", "venv-peers" + ("" if variant == "wheel" else "-" + variant))
    python, stamp = os.path.join(home, "bin", "python"), os.path.join(home, "peer.json")
    if not os.path.exists(python):
        note(f"making {home}")
        venv.create(home, with_pip=True)
    tree, fix = (None, None) if variant == "wheel" else source(python)
    what = {"package": WHEEL if tree is None else NATIVE, "args": [] if tree is None else cmake_args(variant, fix)}
    if os.path.exists(stamp):
        with open(stamp) as f:
            if json.load(f) == what:
                return python
    pip = [python, "-m", "pip", "install", "-q"]
    if tree is None:
        note(f"installing {WHEEL}")
        subprocess.run(pip + [WHEEL], check=True)
    else:
        note(f"compiling {NATIVE} ({variant}); 3 to 12 minutes the first time")
        env = dict(os.environ, CMAKE_ARGS=" ".join(what["args"]), FORCE_CMAKE="1")
        subprocess.run(pip + ["numpy"], check=True)
        subprocess.run(pip + ["--force-reinstall", "--no-deps", "--no-cache-dir", tree], check=True, env=env)
        subprocess.run(pip + [NATIVE], check=True)  # what it depends on
    with open(stamp, "w") as f:
        json.dump(what, f)
    return python


def works(python, model):
    """Prefill and token-by-token decoding of the same tokens must agree: other kernels compute them."""
    run = subprocess.run([python, CHILD, "test", model, "2"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if run.returncode < 0:
        return f"it was killed by signal {-run.returncode}"
    if run.returncode or not run.stdout.strip():
        return "it failed"
    near = json.loads(run.stdout.strip().splitlines()[-1])["cosine"]
    return None if near > 0.98 else f"prefill and decode disagree (cosine {near:.3f})"


def best(wanted, model):
    """(variant, python, remark): the wanted variant, or what stands in for it."""
    remark = None
    for variant in ["native", "noamx", "avx2"] if wanted == "native" else [wanted]:
        python = make(variant)
        why = None if variant == "wheel" else works(python, model)
        if not why:
            return variant, python, remark
        remark = f"{variant} build left out: {why}"
        note(remark)
    sys.exit("peers: no build of llama.cpp works here")
