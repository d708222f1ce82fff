"""What binaries and libraries need, and how our binaries lose what tells of the machine that built them."""

import os
import re
import subprocess
from pathlib import Path

# The system's own: every Linux that has a new enough glibc and libstdc++ has them.
SYSTEM = re.compile(r"(libc|libm|libdl|librt|libutil|libresolv|libpthread|libgcc_s|libstdc\+\+|ld-linux[a-z0-9-]*)\.so\.\d+")
# How build/rpath.rs begins the path on which libraries are looked for; what follows is the building machine's.
RELATIVE = b"$ORIGIN/../lib:$ORIGIN/../libtorch/torch/lib:$ORIGIN/../libtorch/nvidia/cu13/lib:$ORIGIN/lib:$ORIGIN"
VERSIONED = re.compile(r"\b(GLIBC|GLIBCXX)_(\d+(?:\.\d+)+)\b")


def readelf(option, path):
    done = subprocess.run(["readelf", "--wide", option, path], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C"})
    return done.stdout


def needed(path):
    """The names of the libraries that it is linked with."""
    return re.findall(r"\(NEEDED\).*\[(.+)\]", readelf("--dynamic", path))


def search_path(path):
    """Where it looks for them, as it says."""
    found = re.search(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", readelf("--dynamic", path))
    return found[1].split(":") if found else []


def is_stripped(path):
    return ".symtab" not in readelf("--sections", path)


def newest(paths):
    """The newest version of each of glibc's and libstdc++'s interfaces that they need: {"GLIBC": "2.34", …}."""
    found = {}
    for path in paths:
        for name, version in VERSIONED.findall(readelf("--version-info", path)):
            found[name] = max(found.get(name, "0"), version, key=lambda v: [int(n) for n in v.split(".")])
    return found


def closure(binaries, folders):
    """The libraries in these folders that the binaries need, and those that these need."""
    found, waiting, missing = {}, list(binaries), []
    while waiting:
        for name in needed(waiting.pop()):
            if name in found or SYSTEM.fullmatch(name):
                continue
            place = next((folder / name for folder in folders if (folder / name).is_file()), None)
            if place is None:
                missing.append(name)
            else:
                found[name] = place
                waiting.append(place)
    if missing:
        raise FileNotFoundError(f"{', '.join(sorted(set(missing)))}: not in {', '.join(map(str, folders))}")
    return found


def strip(source, target):
    """A copy without what only debuggers read; of libtorch that is a fifth."""
    subprocess.run(["strip", "--strip-unneeded", "-o", target, source], check=True)
    target.chmod(0o755)


def forget_builder(path, folders):
    """Takes the building machine's folders out of a stripped binary, in place: no length changes.

    The search path ends with its relative part; texts of panics keep their length, with slashes, which a path may
    have any number of, for what is missing.
    """
    content = path.read_bytes()
    at = content.find(RELATIVE + b":")
    if at >= 0:
        end = content.index(b"\0", at)
        keep = at + len(RELATIVE)
        content = content[:keep] + bytes(end - keep) + content[end:]
    for folder in folders:
        prefix = os.fsencode(folder) + b"/"
        content = content.replace(prefix, b"/build".ljust(len(prefix), b"/"))
    path.write_bytes(content)


def builder_folders(root, libtorch, environment):
    """The folders of the building machine that compilers write into binaries, the longest first."""
    cargo = Path(environment.get("CARGO_HOME") or Path.home() / ".cargo")
    real = libtorch.resolve()
    named = [cargo / "registry" / "src", libtorch / "include", real / "include", real / "lib", real.parent / "nvidia"]
    named += [root / part for part in ("target", "crates", ".libtorch", ".venv")]
    if target := environment.get("CARGO_TARGET_DIR"):
        named.append(root / target)
    return sorted({str(folder) for folder in named}, key=lambda folder: (-len(folder), folder))
