"""Starts one thing, ours or PyTorch's, and reads how fast it was. Each function is one measurement."""

import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
RELEASE = TARGET / "release"
PEER_PYTHON = ROOT / ".venv-peer" / "bin" / "python"
# The S3 server of the tests.
WEED = ROOT / ".venv-test" / "bin" / "weed"
SCRATCH = TARGET / "bench"
# Both sides do 2 × 64 images a step; the peer's default and the configs' `batch` say so.
GLOBAL_BATCH = 128
WORKERS = 2
# Compiling with torch.compile on two cores takes minutes at worst; nothing else comes near this.
LIMIT_S = 900


class BenchError(Exception):
    """A measurement that did not work, in words for the user; `groups` has what others of its part measured."""

    def __init__(self, text, groups=None):
        super().__init__(text)
        self.groups = groups or {}


def lsgan(config, steps, *overrides, read=None, workers=WORKERS, more=()):
    """Runs `lsgan up` for so many steps, or those of its file, in a directory of its own; (unix time of the start, what
    is read of the journal: by default the rows of `journaled`). `more`: other arguments of the command."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=SCRATCH) as folder:
        run_dir = Path(folder) / "run"
        sets = [*([f"steps={steps}"] if steps else []), *overrides]
        command = [RELEASE / "lsgan", "up", "--config", ROOT / "bench" / "configs" / f"{config}.yaml"]
        command += ["--workers", workers, "--run-dir", run_dir, *(word for s in sets for word in ("--set", s)), *more]
        started = time.time()
        run([*map(str, command)])
        return started, (read or journaled)(run_dir / "journal.sqlite")


def journaled(journal):
    """The rows (step, unix ms of its end) of a run's journal, in order."""
    return query(journal, "SELECT step, wall_ms FROM metrics ORDER BY step")


def query(journal, sql):
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as connection:
        return connection.execute(sql).fetchall()


def steady_step_ms(rows, warm_up):
    """Mean time of the steps after the first `warm_up`, from rows (step, wall_ms)."""
    after = [row for row in rows if row[0] + 1 >= warm_up]
    if len(after) < 2:
        raise BenchError(f"the journal has {len(rows)} rows of metrics, too few after {warm_up} steps of warm-up")
    (first_step, first_ms), (last_step, last_ms) = after[0], after[-1]
    return (last_ms - first_ms) / (last_step - first_step)


def lsgan_images_per_s(config, steps, warm_up):
    _, rows = lsgan(config, steps + warm_up)
    return GLOBAL_BATCH / steady_step_ms(rows, warm_up) * 1e3


def lsgan_steps_per_s(config, steps, warm_up, workers):
    _, rows = lsgan(config, steps + warm_up, workers=workers)
    return 1e3 / steady_step_ms(rows, warm_up)


def pytorch_steps_per_s(model, variant, ranks, threads, steps, warm_up):
    """The global batch of 512 is shared between the ranks."""
    more = ["--ranks", ranks, "--threads", threads, "--per-rank", 512 // ranks]
    return 1e3 / peer(model, variant, "keep", steps, warm_up, *more)["result"]["mean_step_ms"]


def lsgan_step_ms(config, steps, warm_up):
    """One snapshot falls into the time that is measured."""
    _, rows = lsgan(config, steps + warm_up, f"checkpoint.every={steps}")
    return steady_step_ms(rows, warm_up)


def lsgan_first_step_s(config):
    """From the command to the end of the first step."""
    started, rows = lsgan(config, 3, "report.every=1")
    return rows[0][1] / 1e3 - started


def pytorch_images_per_s(model, variant, malloc, steps, warm_up):
    lines = peer(model, variant, malloc, steps, warm_up)
    return lines["result"]["images_per_s"]


def pytorch_first_step_s(model):
    """From the command to the end of the first step; the peer's launcher is lighter than torchrun."""
    return peer(model, "eager", "default", 1, 1)["first_step"]["after_s"]


def peer(model, variant, malloc, steps, warm_up, *more):
    """Runs bench/ddp_peer.py; its JSON lines by event, each with `after_s`, when it came."""
    command = [PEER_PYTHON, ROOT / "bench" / "ddp_peer.py", "--model", model, "--variant", variant]
    command += ["--malloc", malloc, "--steps", steps, "--warm-up", warm_up]
    command += ["--compiler-cache", SCRATCH / "compiler-cache", *more]
    return run([*map(str, command)], events=True)


def libtorch_step_ms(model, steps, warm_up):
    """The bare step, without exact sum, exchange, reports and snapshots: two processes beside each other, the slower."""
    command = [RELEASE / "examples" / "step_bench", "--model", model, "--reduction", "fast"]
    command += ["--steps", steps, "--warm", warm_up]
    both = [subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    try:
        outputs = [process.communicate(timeout=LIMIT_S)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    if any(process.returncode for process in both):
        raise BenchError(f"{command[0]} failed, see above")
    return max(json.loads(output.splitlines()[-1])["mean_ms"] for output in outputs)


def all_reduce(rounds):
    """Our all-reduce and raw sockets at 32 MiB: MB/s, a median over rounds that alternate within the program."""
    output = run([str(RELEASE / "examples" / "all_reduce_bench"), str(rounds)])
    line = json.loads(output.splitlines()[-1])
    return line["bytes_per_s"] / 1e6, max(line["raw_bytes_per_s"].values()) / 1e6


def run(command, events=False, limit_s=LIMIT_S):
    """Runs a command to its end in a session of its own, so that nothing of it is left; its output or JSON events."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True,
            start_new_session=True,
        )
        deadline = Deadline(process, limit_s)
        try:
            lines = {} if events else []
            for line in process.stdout:
                if not events:
                    lines.append(line)
                elif line.startswith("{"):
                    event = json.loads(line)
                    lines[event["event"]] = event | {"after_s": time.monotonic() - started}
            code = process.wait()
        finally:
            deadline.end()
        if code:
            complaints.seek(0)
            tail = "".join(complaints.readlines()[-15:])
            raise BenchError(f"`{' '.join(command)}` ended with {code}:\n{tail}")
        return lines if events else "".join(lines)


class Deadline:
    """Kills a process's session when it takes too long, and whatever is left of it at the end."""

    def __init__(self, process, seconds):
        self.process = process
        self.timer = threading.Timer(seconds, self.kill)
        self.timer.daemon = True
        self.timer.start()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def end(self):
        self.timer.cancel()
        self.kill()


def lacking(parts):
    """What must exist before the parts can be measured and does not, each with what makes it."""
    needed = {}
    if {"train", "overhead", "start", "recovery", "cluster", "network", "scale", "golden", "eval", "observe"} & set(parts):
        needed |= {RELEASE / name: "make build" for name in ("lsgan", "coordinator", "worker")}
    if {"train", "start", "recovery", "data", "network", "golden", "eval"} & set(parts):
        needed[PEER_PYTHON] = "scripts/python-env .venv-peer bench/requirements.txt"
    examples = "cargo build --release --locked --workspace --bins --examples"
    if "overhead" in parts:
        needed[RELEASE / "examples" / "step_bench"] = examples
    if {"collective", "cluster"} & set(parts):
        needed[RELEASE / "examples" / "all_reduce_bench"] = examples
    if "recovery" in parts:
        needed[RELEASE / "examples" / "sessions"] = examples
    if "cluster" in parts:
        needed[RELEASE / "examples" / "flood"] = examples
        needed[WEED] = "scripts/python-env .venv-test scripts/requirements-test.txt"
    if "observe" in parts:
        needed[RELEASE / "examples" / "long_run"] = examples
    if "data" in parts:
        needed |= {RELEASE / "examples" / name: examples for name in ("source_rate", "source_start")}
    return {path: cure for path, cure in needed.items() if not path.exists()}


def versions():
    """Versions of both sides."""
    said = {}
    for name, command in {
        "torch": [PEER_PYTHON, "-c", "import importlib.metadata as m; print(m.version('torch'))"],
        "rustc": ["rustc", "--version"],
        "commit": ["git", "describe", "--always", "--dirty"],
    }.items():
        try:
            said[name] = subprocess.run(
                [*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            said[name] = "unknown"
    return said
