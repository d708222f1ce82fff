"""The licences of everything that is in the archive: libtorch with what it bundles, CUDA's libraries, the crates, the
font of the figures."""

import json
import shutil
import subprocess
from pathlib import Path

BINARIES = ("lsgan-coordinator", "lsgan-worker", "lsgan-cli")
FILES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE", "COPYRIGHT")
# libgomp comes with libtorch's wheel, which has no text for it.
GCC = """libgomp.so.1 is GCC's OpenMP library: GPL version 3 or later, with the GCC Runtime Library Exception 3.1, which lets
programs of any licence be linked with it. Text and source: https://gcc.gnu.org. It is the file of PyTorch's wheel,
unchanged.
"""


def gather(root, target, libtorch, libraries):
    """Writes them into the folder `target`. `libtorch` is the libtorch's folder, or none where it is not in the archive;
    `libraries` are the names of those of its libraries that are."""
    target.mkdir()
    (target / "crates.txt").write_text(of_crates(root), encoding="utf-8")
    shutil.copyfile(root / "crates/figures/font/LICENSE", target / "dejavu-sans.txt")
    if libtorch is None:
        return
    for package in packages(libtorch, libraries):
        texts = [path for path in sorted(package.rglob("*")) if is_licence(path)]
        if not texts:
            raise FileNotFoundError(f"{package} has no licence")
        into = target / package.name.split("-")[0]
        into.mkdir()
        for text in texts:
            shutil.copyfile(text, into / text.name)
    if any(name.startswith("libgomp") for name in libraries):
        (target / "libgomp.txt").write_text(GCC)


def packages(libtorch, libraries):
    """The folders in which pip keeps the licences of libtorch and of the CUDA libraries among `libraries`."""
    beside = libtorch.resolve().parent
    wanted = ["torch"]
    wanted += ["nvidia_cuda_runtime"] if any(name.startswith("libcudart") for name in libraries) else []
    wanted += ["nvidia_cuda_cupti"] if any(name.startswith("libcupti") for name in libraries) else []
    for name in wanted:
        found = sorted(beside.glob(f"{name}-*.dist-info"))
        if not found:
            raise FileNotFoundError(f"{beside} has no {name}-*.dist-info, where its licence is; install libtorch by "
                                    "`make setup`")
        yield found[0]


def is_licence(path):
    return path.is_file() and path.name.upper().startswith(FILES)


def of_crates(root):
    """One text with every crate that is linked into the binaries: its licence, and the files that it ships; equal ones
    once."""
    by_texts = {}
    for crate in crates(root):
        folder = Path(crate["manifest_path"]).parent
        texts = [path.read_text(errors="replace").strip() for path in sorted(folder.iterdir()) if is_licence(path)]
        said = crate["license"] or crate["license_file"] or "no licence is named"
        by_texts.setdefault(tuple(texts), []).append(f"{crate['name']} {crate['version']}: {said}")
    parts = []
    for texts, names in sorted(by_texts.items(), key=lambda item: item[1]):
        parts.append("\n".join(sorted(names)))
        parts += texts
    return f"\n\n{'=' * 100}\n\n".join(parts) + "\n"


def crates(root):
    """Every crate of others that the binaries are made of, as cargo describes it."""
    cargo = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host()]
    done = subprocess.run(cargo, cwd=root, capture_output=True, check=True)
    metadata = json.loads(done.stdout)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    named = {package["id"]: package for package in metadata["packages"]}
    waiting = [id for id, package in named.items() if package["name"] in BINARIES and package["source"] is None]
    seen = set()
    while waiting:
        id = waiting.pop()
        if id in seen:
            continue
        seen.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    found = [named[id] for id in seen if named[id]["source"] is not None]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def host():
    said = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return next(line.split()[1] for line in said.splitlines() if line.startswith("host:"))
