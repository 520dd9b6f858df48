#!/usr/bin/env python3
""".ci/stages.py, started by .ci/run: everything a change must pass, from a bare machine to the last line `N passed, N failed, N skipped`.

    .ci/run                 all stages          .ci/run --list          their names
    .ci/run STAGE...        some of them        .ci/run --from STAGE    that one and all after it

Every configuration is built once, in build-ci-<name>/ (the plain one in build/, by `make`). A stage gives counts like a suite;
what this machine cannot do is skipped and says why."""
import argparse
import atexit
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COUNTS = re.compile(r"^\s*(\d+) passed, (\d+) failed, (\d+) skipped\s*$")
FUZZ_S = int(os.environ.get("HEARTH_FUZZ_SECONDS", "60"))
SOAK_MIN = os.environ.get("HEARTH_SOAK_MINUTES", "10")
NO_ORACLES = os.environ.get("HEARTH_CI_ORACLES") == "0"
JOBS = str(os.cpu_count() or 2)
SANITIZER_ENV = {
    "HEARTH_EVENTS": "2000",  # of the ten thousand that `make test` runs
    "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "allocator_may_return_null=1:halt_on_error=1:second_deadlock_stack=1",
}


# Parity loops over chunks, threads and strangers in `make test`; under an emulator or a mask its golden sums are enough.
QUICK = {"HEARTH_PARITY_QUICK": "1", "HEARTH_EVENTS": "600"}


# The rooms whose results go through the kernels of a level.
COMPUTING = ["base", "quant", "kernel", "graph", "backend", "engine", "session/events"]


class Skip(Exception):
    pass


def sh(*args, env=None, check=True, **kw):
    """Runs a command with its output passed through."""
    print("$ " + " ".join(args), flush=True)
    p = subprocess.run(args, cwd=ROOT, env=dict(os.environ, **(env or {})), **kw)
    if check and p.returncode:
        raise subprocess.CalledProcessError(p.returncode, args)
    return p.returncode


def counted(*args, env=None):
    """Runs a command that ends with its line of counts."""
    print("$ " + " ".join(args), flush=True)
    tail = ""
    with subprocess.Popen(args, cwd=ROOT, env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE, text=True, errors="replace") as p:
        for line in p.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            tail = line if line.strip() else tail
    m = COUNTS.match(tail)
    if not m:
        print(f"FAIL {args[0]} ended with status {p.returncode} and without its line of counts")
        return [0, 1, 0]
    counts = [int(x) for x in m.groups()]
    if p.returncode and not counts[1]:
        counts[1] = 1
    return counts


# Instrumented code makes compilers warn of what cannot happen; the plain builds have the warnings as errors.
SANITIZED = ["-Doptimization=1", "-Ddebug=true", "-Db_lundef=false", "-Dwerror=false"]


def clang_if_there():
    return {"CC": "clang-14"} if shutil.which("clang-14") else {}


def build(name, *setup, env=None, targets=()):
    folder = f"build-ci-{name}"
    if not os.path.exists(os.path.join(ROOT, folder, "build.ninja")):
        shutil.rmtree(os.path.join(ROOT, folder), ignore_errors=True)
        sh("meson", "setup", folder, *setup, env=env, stdout=subprocess.DEVNULL)
    sh("ninja", "-C", folder, "--quiet", "-j", JOBS, *targets)
    return folder


def need(*tools):
    for t in tools:
        if not shutil.which(t):
            raise Skip(f"no {t} on this machine")


def stage_deps():
    sh("tools/install-deps", "ci")


def stage_scripts():
    passed = failed = 0
    for name in ("check-includes", "check-size"):
        rc = sh(os.path.join("tools", name), check=False)
        passed, failed = passed + (rc == 0), failed + (rc != 0)
    return [passed, failed, 0]


def stage_format():
    need("clang-format-14")
    files = subprocess.run(["git", "ls-files", "*.c", "*.h"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    bad = [f for f in files if subprocess.run(["clang-format-14", "--dry-run", "-Werror", f], cwd=ROOT, capture_output=True).returncode]
    for f in bad:
        print(f"FAIL {f}: run `make format`")
    return [len(files) - len(bad), len(bad), 0]


def stage_test():
    """The two commands a user has: make, make test."""
    sh("make", "build")
    return counted("make", "-s", "test")


def stage_names():
    sh("tools/check-names", "build")


def stage_docs():
    return counted("tools/check-docs", "--run")


def stage_clang():
    """Another compiler's warnings, which it finds without optimising."""
    need("clang-14")
    build("clang", "--buildtype=plain", env={"CC": "clang-14"})


def cpu_masks():
    """(mask, can this machine show it) for every level of kernels of this kind of machine."""
    flags = ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            flags = f.read()
    if os.uname().machine == "aarch64":
        return [("ref", True), ("neon", True), ("i8mm", " i8mm " in flags)]
    return [("ref", True), ("avx2", " avx2 " in flags), ("avxvnni", " avx_vnni " in flags),
            ("avx512", " avx512_vnni " in flags), ("amx", " amx_int8 " in flags)]


def stage_masks():
    total = [0, 0, 0]
    suites = ["--suite", "unit", "--suite", "kernelcheck", *of_rooms(*COMPUTING)]
    for mask, possible in cpu_masks():
        if not possible:
            print(f"skip mask {mask}: this processor does not have it")
            counts = [0, 0, 1]
        else:
            counts = counted("tests/run", *suites, env=dict(QUICK, HEARTH_CPU_MASK=mask))
        total = [a + b for a, b in zip(total, counts)]
    return total


# Of the server's tests: not those that measure memory (a sanitizer has its own) and not those that only take long.
SMOKE = ["access/", "answers/", "cancel/while", "clients/", "hostile/malformed", "hostile/absurd", "hostile/a_body",
         "hostile/pipelined", "hostile/special", "hostile/many"]


def stage_asan():
    """Unit tests and seeds, then the server's smoke test, under AddressSanitizer and UndefinedBehaviorSanitizer."""
    folder = build("asan", "-Db_sanitize=address,undefined", *SANITIZED, env=clang_if_there())
    suites = ["--suite", "unit", "--suite", "fuzz"]
    total = counted("tests/run", "--build", folder, "--timeout-multiplier", "10", *suites, env=SANITIZER_ENV)
    words = [x for w in SMOKE for x in ("--word", w)]
    more = counted("tests/run", "--build", folder, "--suite", "server", *words, env=SANITIZER_ENV)
    return [a + b for a, b in zip(total, more)]


def stage_tsan():
    folder = build("tsan", "-Db_sanitize=thread", *SANITIZED, env=clang_if_there())
    rooms = of_rooms("base", "ledger", "backend", "engine", "http", "session/events")
    return counted("tests/run", "--build", folder, "--suite", "unit", *rooms, "--timeout-multiplier", "20", env=SANITIZER_ENV)


def of_rooms(*names):
    return [x for n in names for x in ("--test", n)]


def stage_aarch64():
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    if not os.path.exists("/usr/lib/aarch64-linux-gnu/pkgconfig/libmicrohttpd.pc"):
        raise Skip("no arm64 libraries on this machine")
    folder = build("aarch64", "--cross-file", "tools/cross-aarch64.ini")
    return counted("tests/run", "--build", folder, "--suite", "unit", "--timeout-multiplier", "20", env=dict(QUICK, HEARTH_EVENTS="200", HEARTH_QEMU="1"))


def stage_fuzz():
    """One minute for every target, from its seeds; what it finds stays below build-ci-fuzz/."""
    if not shutil.which("clang-14"):
        print("skip fuzz: no clang-14 on this machine")
        return [0, 0, 1]
    options = ["-Dfuzz=true", "-Db_sanitize=address,undefined", *SANITIZED, "-Dc_args=-fsanitize=fuzzer-no-link"]
    sources = sorted(glob.glob(os.path.join(ROOT, "tests/fuzz/fuzz_*.c")))
    names = [os.path.basename(s)[len("fuzz_"):-2] for s in sources]
    folder = build("fuzz", *options, env={"CC": "clang-14"}, targets=[f"tests/fuzz/fuzz_{n}" for n in names])
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        ok = list(pool.map(lambda n: fuzz_one(folder, n), names))
    return [sum(ok), len(ok) - sum(ok), 0]


def fuzz_one(folder, name):
    corpus, log = (os.path.join(ROOT, folder, kind, name) for kind in ("corpus", "logs"))
    os.makedirs(corpus, exist_ok=True)
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "wb") as out:
        rc = sh(f"{folder}/tests/fuzz/fuzz_{name}", f"-max_total_time={FUZZ_S}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0",
                "-print_final_stats=1", f"-artifact_prefix={folder}/{name}-", corpus, f"tests/fuzz/seeds/{name}", check=False,
                env=SANITIZER_ENV, stdout=out, stderr=subprocess.STDOUT)
    with open(log, encoding="utf-8", errors="replace") as f:
        lines = f.readlines()
    print("".join(lines[-60:] if rc else [x for x in lines if x.startswith("stat::number_of")]), end="", flush=True)
    print(f"FAIL fuzz_{name}: the input lies at {folder}/{name}-*" if rc else f"ok   fuzz_{name}", flush=True)
    return rc == 0


def stage_kills():
    """The server is killed 200 times in the middle of its work on disk (`make test`: 20 times)."""
    sh("make", "build")
    return counted("tests/run", "--suite", "server", "--word", "kill/", env={"HEARTH_KILLS": "200"})


def stage_soak():
    """64 clients, a tenth of them vanishing."""
    rc, text = job_ended("soak")
    m = COUNTS.match(text.strip().splitlines()[-1]) if text.strip() else None
    counts = [int(x) for x in m.groups()] if m else [0, 1, 0]
    return [counts[0], max(counts[1], int(rc != 0)), counts[2]]


def stage_oracles():
    if NO_ORACLES:
        raise Skip("HEARTH_CI_ORACLES=0")
    job_ended("oracles")
    return counted("make", "-s", "test-oracles")


STAGES = [
    ("deps", stage_deps), ("scripts", stage_scripts), ("format", stage_format), ("test", stage_test), ("names", stage_names),
    ("docs", stage_docs), ("masks", stage_masks), ("clang", stage_clang), ("asan", stage_asan), ("tsan", stage_tsan),
    ("aarch64", stage_aarch64), ("fuzz", stage_fuzz), ("kills", stage_kills), ("soak", stage_soak), ("oracles", stage_oracles),
]

# What a stage waits for longer than it computes begins, with little priority, behind the stages that judge memory and waiting.
BESIDE = {"soak": ["tests/server/soak", "--minutes", SOAK_MIN], "oracles": ["tools/install-deps", "oracles"]}
BESIDE_AFTER = "docs"
jobs = {}  # name of the stage -> (process, its log)


def start_job(name):
    log = os.path.join(ROOT, "build-ci-jobs", name)
    os.makedirs(os.path.dirname(log), exist_ok=True)
    print(f"$ {' '.join(BESIDE[name])} &", flush=True)
    with open(log, "wb") as out:
        p = subprocess.Popen(["nice", *BESIDE[name]], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    jobs[name] = p, log
    try:  # where Linux shares the processor between sessions first, a process's own niceness says nothing to other sessions
        with open(f"/proc/{p.pid}/autogroup", "w", encoding="ascii") as f:
            f.write("10")
    except OSError:
        pass


@atexit.register
def stop_jobs():
    for p, _ in jobs.values():
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGTERM)


def job_ended(name):
    """Starts it if need be, waits for its end and passes on what it said; (exit status, text)."""
    if name not in jobs:
        start_job(name)
    p, log = jobs.pop(name)
    rc = p.wait()
    with open(log, encoding="utf-8", errors="replace") as f:
        text = f.read()
    print(text, end="", flush=True)
    return rc, text


def run_stage(name, stage):
    print(f"\n==== {name}", flush=True)
    start = time.monotonic()
    try:
        counts = stage() or [1, 0, 0]
    except Skip as why:
        print(f"skip {name}: {why}")
        counts = [0, 0, 1]
    except (subprocess.CalledProcessError, OSError) as e:
        print(f"FAIL {name}: {e}")
        counts = [0, 1, 0]
    return name, counts, time.monotonic() - start


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("stages", nargs="*")
    args.add_argument("--list", action="store_true")
    args.add_argument("--from", dest="first")
    a = args.parse_args()
    names = [n for n, _ in STAGES]
    if a.list:
        print("\n".join(names))
        return 0
    unknown = [s for s in [*a.stages, *([a.first] if a.first else [])] if s not in names]
    if unknown:
        sys.exit(f".ci/run: no stage {', '.join(unknown)}; there are: {', '.join(names)}")
    chosen = a.stages or names[names.index(a.first) if a.first else 0:]
    rows = []
    for n, s in STAGES:
        if n in chosen:
            rows.append(run_stage(n, s))
        if n == BESIDE_AFTER and n in chosen:
            for job in [j for j in BESIDE if j in chosen and not (j == "oracles" and NO_ORACLES)]:
                start_job(job)
    print("\n==== summary")
    for name, c, s in rows:
        print(f"{name:10} {c[0]:6} passed {c[1]:4} failed {c[2]:4} skipped  {s:7.1f} s")
    total = [sum(c[i] for _, c, _ in rows) for i in range(3)]
    print(f"{'total':10} {'':41} {sum(s for _, _, s in rows):7.1f} s")
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped", flush=True)
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
