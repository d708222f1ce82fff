"""What this machine has to run with: binaries that were built elsewhere, and its own libtorch."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

# What is started here; the last two are examples of their crates.
BINARIES = ["lsgan", "coordinator", "worker", "contract_rank", "golden_step"]
# All of them, stripped, travel to the machine, with the tree.
PACKED = ".tar.xz"
PACKED_MAX_BYTES = 32 << 20
LIBTORCH_VERSION = "2.11.0"

ASK_FOR_TORCH = """
import importlib.metadata, importlib.util, json
found = importlib.util.find_spec("torch")
print(json.dumps([list(found.submodule_search_locations)[0], importlib.metadata.version("torch")] if found else None))
"""


@dataclass
class Torch:
    """A libtorch; `python` is the one it is installed in, if it is."""

    folder: Path
    version: str
    python: str | None = None

    def library_folders(self):
        """Where its libraries and those that it was shipped with lie: CUDA's, cuDNN, NCCL."""
        return [self.folder / "lib", *sorted(self.folder.parent.glob("nvidia/*/lib"))]


def binary(folder, name):
    """Where a binary lies in a folder of binaries or of a build; None if it does not."""
    places = [folder / name, folder / "examples" / name]
    return next((place for place in places if place.is_file()), None)


def lacking(folder, names):
    return [name for name in names if binary(folder, name) is None]


def listing(folder):
    """The binaries with their sizes, for people."""
    mib = lambda size: f"{size / (1 << 20):7.1f} MiB"
    each = [(name, binary(folder, name)) for name in BINARIES]
    lines = [f"{name:<14} {f'{mib(path.stat().st_size)}  {path}' if path else '    missing'}" for name, path in each]
    together = sum(path.stat().st_size for _, path in each if path)
    return "\n".join([*lines, f"{'together':<14} {mib(together)}"])


def pack(source, stripped, archive):
    """Strips the binaries into a folder, and that into an archive."""
    stripped.mkdir(parents=True)
    for name in BINARIES:
        subprocess.run(["strip", "--strip-all", "-o", stripped / name, binary(source, name)], check=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:xz") as packed:
        for name in BINARIES:
            packed.add(stripped / name, name)


def unpack(archive, folder):
    """The folder, with the binaries of an archive in it."""
    with tarfile.open(archive, "r:xz") as packed:
        packed.extractall(folder, members=[packed.getmember(name) for name in BINARIES if name in packed.getnames()],
                          filter="data")
    return folder


def find_torch(root, python=None):
    """What LIBTORCH names, or the libtorch of this Python or the first that has one; None if there is none."""
    if named := os.environ.get("LIBTORCH"):
        folder = Path(named).resolve()
        version = next((f for f in ("build-version", "version.py") if (folder / f).is_file()), None)
        said = (folder / version).read_text() if version else "unknown"
        named = re.search(r"^__version__ = '(.*)'", said, re.MULTILINE)
        said = named[1] if named else said.strip()
        return Torch(folder, said) if (folder / "lib").is_dir() else None
    for python in [python] if python else pythons(root):
        try:
            said = subprocess.run([python, "-c", ASK_FOR_TORCH], capture_output=True, text=True, timeout=30, check=True)
            found = json.loads(said.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue
        if found:
            return Torch(Path(found[0]).resolve(), found[1], python)
    return None


def pythons(root):
    """Pythons that may have a libtorch, without those that are named twice."""
    near = [root / ".venv" / "bin" / "python"]
    known = [sys.executable, *map(shutil.which, ("python3", "python"))]
    usual = ["/opt/conda/bin/python", "/usr/bin/python3", "/usr/local/bin/python3"]
    return list(dict.fromkeys(str(python) for python in [*known, *near, *usual] if python and Path(python).exists()))


def can_compare(python, on_gpu):
    """Whether this Python's PyTorch works on what is to be compared."""
    ask = f"import sys, torch; sys.exit({on_gpu} and not torch.cuda.is_available())"
    try:
        return subprocess.run([python, "-c", ask], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def environment(torch, inherited):
    """What our binaries find libtorch by. (Where the folder that they were linked against exists, that one wins.)"""
    # Of an error its words are shown, for which there would be no room behind a trace.
    inherited = dict(inherited) | {"RUST_BACKTRACE": "0"}
    if torch is None:
        return inherited
    folders = [str(folder) for folder in torch.library_folders()]
    if before := inherited.get("LD_LIBRARY_PATH"):
        folders.append(before)
    return inherited | {"LD_LIBRARY_PATH": ":".join(folders)}
