"""What lies where in the archive."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import elf, licences

BINARIES = ("coordinator", "worker", "lsgan")
TREES = ("configs", "datasets", "docs")
FILES = ("README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE")
# PyTorch's licence lets its libraries be changed; NVIDIA's are passed on as they are.
OURS_TO_STRIP = re.compile(r"lib(torch|c10)")
SUMS = "SHA256SUMS"
REQUIREMENTS = "REQUIREMENTS.txt"
GET_EXTRACTOR = "scripts/get-efficientnet-lite0"
GET_LIBTORCH = ("scripts/get-libtorch", "scripts/requirements-libtorch-cuda.txt")


@dataclass
class Source:
    """Where it is all taken from."""

    root: Path
    binaries: Path
    libtorch: Path
    variant: str

    def version(self):
        return re.search(r'^version = "(.+)"', (self.root / "Cargo.toml").read_text(), re.MULTILINE)[1]

    def libtorch_version(self):
        return re.search(r"^torch==(.+)$", (self.root / "scripts/requirements-libtorch.txt").read_text(), re.MULTILINE)[1]

    def name(self):
        return f"lsgan-{self.version()}-linux-{platform.machine()}-{self.variant}"

    def library_folders(self):
        libtorch = self.libtorch.resolve()
        return [libtorch / "lib", *sorted(libtorch.parent.glob("nvidia/*/lib"))]

    def builder_folders(self):
        return elf.builder_folders(self.root, self.libtorch, os.environ)


def make(source, out):
    """Makes the folder anew in `out`; returns it."""
    folder = out / source.name()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    for name in BINARIES:
        elf.strip(source.binaries / name, folder / "bin" / name)
        elf.forget_builder(folder / "bin" / name, source.builder_folders())
    libraries = elf.closure([folder / "bin" / name for name in BINARIES], source.library_folders())
    if source.variant == "cpu":
        (folder / "lib").mkdir()
        for name, path in libraries.items():
            take = elf.strip if OURS_TO_STRIP.match(name) else shutil.copyfile
            take(path.resolve(), folder / "lib" / name)
        licences.gather(source.root, folder / "licences", source.libtorch, list(libraries))
    else:
        for path in GET_LIBTORCH:
            shutil.copy(source.root / path, folder / "bin" / Path(path).name)
        licences.gather(source.root, folder / "licences", None, [])
    shutil.copy(source.root / GET_EXTRACTOR, folder / "bin" / Path(GET_EXTRACTOR).name)
    for name in TREES:
        shutil.copytree(source.root / name, folder / name)
    for name in FILES:
        shutil.copyfile(source.root / name, folder / name)
    (folder / REQUIREMENTS).write_text(requirements(source, folder, libraries))
    (folder / SUMS).write_text(sums(folder))
    return folder


def requirements(source, folder, libraries):
    """What the other machine needs."""
    newest = elf.newest([*(folder / "bin" / name for name in BINARIES), *libraries.values()])
    lines = [
        f"Linux on {platform.machine()} with",
        f"  glibc {newest['GLIBC']} or newer (ldd --version)",
        f"  libstdc++.so.6 with GLIBCXX_{newest['GLIBCXX']} or newer, and libgcc_s.so.1",
        "  for buckets over https the certificates of the system (package ca-certificates)",
    ]
    if source.variant == "cuda":
        lines += [
            f"  libtorch {source.libtorch_version()} with CUDA, which bin/get-libtorch fetches (Python 3.10 to 3.14 with pip)",
            "  and for GPUs a driver for CUDA 13",
        ]
    return "\n".join(lines) + "\n"


def files(folder):
    """All files in it, relative, in an order that is the same everywhere."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def sums(folder):
    done = subprocess.run(["sha256sum", *files(folder)], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout
