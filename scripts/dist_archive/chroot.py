"""The quickstart from the archive in an empty root file system, without a network and without this machine's files."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

FIRST_PICTURE_WITHIN_S = 60.0
WORKERS = 2
# Loopback is all the network that there is. The kernel's file systems are no files of this machine.
INSIDE = """
set -e
ip link set lo up 2>/dev/null || true
mount -t proc proc "$0/proc"
mount --bind /dev "$0/dev"
exec chroot "$0" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root sh -c "$1"
"""


def quickstart(archive, root):
    """Unpacks the archive in `root` with the tools there, trains, and prints the times."""
    if os.geteuid() != 0 or not (root / "bin" / "sh").exists():
        print(f"error: {root} must be a root file system, and this must run as root", file=sys.stderr)
        return 2
    work = root / "lsgan-try"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        shutil.copyfile(archive, work / archive.name)
        return timed(archive.name, root, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def timed(archive, root, work):
    name = archive.removesuffix(".tar.gz")
    begin = time.monotonic()
    if inside(root, f"cd /lsgan-try && tar xzf {archive} && cd {name} && sha256sum --quiet --check SHA256SUMS").wait():
        print("error: the archive cannot be unpacked there, or is not whole", file=sys.stderr)
        return 1
    print(f"unpacked and checked in {time.monotonic() - begin:.1f} s")
    begin = time.monotonic()
    training = inside(root, f"cd /lsgan-try/{name} && exec bin/lsgan up --config configs/quickstart.yaml --workers {WORKERS}")
    samples = work / name / "runs" / "quickstart" / "samples"
    first = None
    while training.poll() is None:
        if first is None and any(Path(samples).glob("step-*.png")):
            first = time.monotonic() - begin
            print(f"first picture after {first:.1f} s", flush=True)
        time.sleep(0.05)
    print(f"the quickstart ended after {time.monotonic() - begin:.1f} s with exit code {training.returncode}")
    weights = work / name / "runs" / "quickstart" / "final" / "generator.safetensors"
    if training.returncode or first is None or not weights.is_file():
        print("error: it did not train to its end", file=sys.stderr)
        return 1
    if first > FIRST_PICTURE_WITHIN_S:
        print(f"error: the first picture came after more than {FIRST_PICTURE_WITHIN_S:.0f} s", file=sys.stderr)
        return 1
    return 0


def inside(root, command):
    """Runs a shell command there, with namespaces of its own for processes, mounts and the network."""
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, root, command]
    return subprocess.Popen(unshare, stdin=subprocess.DEVNULL)
