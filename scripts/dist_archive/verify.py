"""Whether a folder is what a machine without a toolchain can use, and tells nothing of the one that built it."""

import os
import subprocess

from . import elf, folder as layout


def problems(source, folder):
    """A sentence for each thing that is not as it should be."""
    found = [*wrong_layout(source, folder)]
    for name in layout.BINARIES:
        path = folder / "bin" / name
        found += [f"bin/{name}: {problem}" for problem in wrong_binary(source, folder, path)]
        if source.variant == "cpu" or name == "coordinator":
            found += [f"bin/{name}: {problem}" for problem in wrong_start(source, folder, path)]
    if source.variant == "cpu":
        found += wrong_probe(folder)
    return found


def wrong_layout(source, folder):
    expected = {"bin", "licences", *layout.TREES, *layout.FILES, layout.SUMS, layout.REQUIREMENTS}
    expected |= {"lib"} if source.variant == "cpu" else set()
    present = {path.name for path in folder.iterdir()}
    for name in sorted(expected ^ present):
        yield f"{name}: {'missing' if name in expected else 'does not belong there'}"
    if (folder / layout.SUMS).read_text().count("\n") != len(layout.files(folder)) - 1:
        yield f"{layout.SUMS} does not list every file"
    config = folder / "configs" / "quickstart.yaml"
    data = next(word.strip(" }") for word in config.read_text().split() if word.startswith("datasets/"))
    if not (folder / data).is_file():
        yield f"{data}, which configs/quickstart.yaml trains on: missing"


def wrong_binary(source, folder, path):
    if not os.access(path, os.X_OK):
        yield "cannot be executed"
    if not elf.is_stripped(path):
        yield "is not stripped"
    for place in elf.search_path(path):
        if not place.startswith("$ORIGIN"):
            yield f"looks for libraries in {place}, which another machine does not have"
    content = path.read_bytes()
    for builder in source.builder_folders():
        if os.fsencode(builder) + b"/" in content:
            yield f"has the building machine's {builder}/ in it"
    for name in elf.needed(path):
        if not (elf.SYSTEM.fullmatch(name) or source.variant == "cuda" or (folder / "lib" / name).is_file()):
            yield f"needs {name}, which is neither in lib/ nor a part of the system"


def wrong_probe(folder):
    """A step on fixed inputs, with the libraries of the folder: stripped ones compute as before, or not at all."""
    done = subprocess.run([folder / "bin" / "worker", "--probe"], capture_output=True, text=True, env={})
    if done.returncode:
        yield f"bin/worker --probe ends with {done.returncode}: {done.stderr.strip()}"


def wrong_start(source, folder, path):
    """Its own word, and where it finds libtorch: in the folder, without anything in the environment."""
    name = path.name
    said = subprocess.run([path, "--version"], capture_output=True, text=True, env={})
    expected = f"{name} {source.version()} (libtorch {source.libtorch_version()})\n"
    if said.stdout != expected:
        yield f"--version says {(said.stdout + said.stderr).strip()!r}, not {expected.strip()!r}"
    loaded = subprocess.run([path], capture_output=True, text=True, env={"LD_TRACE_LOADED_OBJECTS": "1"}).stdout
    for line in loaded.splitlines():
        library, _, place = line.strip().partition(" => ")
        if elf.SYSTEM.fullmatch(library.split("/")[-1].split()[0]) or not place:
            continue
        if not os.path.realpath(place.split(" (")[0]).startswith(os.path.realpath(folder) + os.sep):
            yield f"loads {library} from {place}, which is not in the folder"
