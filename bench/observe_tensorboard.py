"""What TensorBoard takes for a run that `lsgan ui` opens: the real one, on the event file that `lsgan tensorboard` writes of the run."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from measure import RELEASE, ROOT, BenchError, run

# Where it may be installed.
PYTHONS = [os.environ.get("TENSORBOARD_PYTHON"), ROOT / ".venv-test" / "bin" / "python", "python3"]
TAG = "losses%2Floss_d"
# It reads all of the file before it knows the newest step; longer than this nobody waits.
LIMIT_S = 1800
LOOK_S = 0.2


def python():
    """A Python that has it; none if there is none."""
    for candidate in filter(None, PYTHONS):
        try:
            found = subprocess.run([str(candidate), "-c", "import tensorboard"], capture_output=True, check=False)
        except OSError:
            continue
        if found.returncode == 0:
            return str(candidate)
    return None


def tensorboard(run_dir, newest_step):
    """Rows of observe.tensorboard: seconds from its address to the first steps of a loss and to the newest one, its most memory.
    Nothing where it is not installed, which is said."""
    interpreter = python()
    if interpreter is None:
        print("observe.tensorboard is skipped: no Python here has tensorboard; TENSORBOARD_PYTHON names one", flush=True)
        return {}
    folder = Path(run_dir) / "tensorboard"
    run([str(RELEASE / "lsgan"), "tensorboard", "--run", str(run_dir), "--to", str(folder)], limit_s=LIMIT_S)
    command = [interpreter, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1", "--port", "0"]
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        url = address(server.stdout)
        # Whoever prints more must not wait for a reader.
        threading.Thread(target=server.stdout.read, daemon=True).start()
        return watch(url, newest_step, server.pid)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def address(lines):
    said = []
    for line in lines:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found.group()
    raise BenchError(f"TensorBoard does not listen:\n{''.join(said[-15:])}")


def watch(url, newest_step, session):
    began, rows = time.monotonic(), {}
    while time.monotonic() - began < LIMIT_S:
        steps = known_steps(url)
        took_s = time.monotonic() - began
        if steps:
            rows.setdefault("first steps", took_s)
        if newest_step in steps:
            rows["newest step"] = took_s
            break
        time.sleep(LOOK_S)
    else:
        print(f"TensorBoard did not show step {newest_step} within {LIMIT_S} s", flush=True)
    return rows | {"peak MiB": peak_mib(session)}


def known_steps(url):
    """The steps of a loss that it shows now."""
    try:
        with urllib.request.urlopen(f"{url}/data/plugin/scalars/scalars?run=.&tag={TAG}", timeout=60) as answer:
            return {step for _, step, _ in json.load(answer)}
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError):
        # It does not know of the run yet, or is too busy to answer.
        return set()


def peak_mib(session):
    """The most memory of all processes of a session, each at its own time."""
    peak_kib = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            stat = (status.parent / "stat").read_text().rsplit(")", 1)[1].split()
            if int(stat[3]) == session:
                peak_kib += int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text()).group(1))
        except (OSError, AttributeError):
            # It has ended, or is the kernel's.
            continue
    return peak_kib / 1024
