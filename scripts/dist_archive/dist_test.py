"""What scripts/dist makes of binaries and folders, without building anything but a few lines of shell."""

import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
import unittest.mock
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))

from dist_archive import command, elf, folder as layout, licences

ROOT = SCRIPTS.parent


class Scratch(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.scratch = Path(made.name)

    def file(self, name, content=b""):
        path = self.scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


class TheBuilder(Scratch):
    def forget(self, content, folders):
        path = self.file("binary", content)
        elf.forget_builder(path, folders)
        return path.read_bytes()

    def test_the_search_path_ends_with_its_relative_part(self):
        before = b"\0x\0" + elf.RELATIVE + b":/home/alice/torch/lib\0next\0"
        after = self.forget(before, [])
        self.assertEqual(after, b"\0x\0" + elf.RELATIVE + bytes(len(":/home/alice/torch/lib")) + b"\0next\0")

    def test_the_path_that_the_build_writes_is_the_one_that_is_cut(self):
        self.assertIn(elf.RELATIVE.decode(), (ROOT / "build" / "rpath.rs").read_text())

    def test_folders_of_the_builder_become_slashes_of_the_same_length(self):
        after = self.forget(b"at /home/alice/.cargo/registry/src/tokio/lib.rs and /home/al", ["/home/alice/.cargo"])
        self.assertEqual(after, b"at /build/////////////registry/src/tokio/lib.rs and /home/al")

    def test_the_folders_are_those_that_compilers_write(self):
        folders = elf.builder_folders(Path("/w"), Path("/w/.libtorch"), {"CARGO_HOME": "/c", "CARGO_TARGET_DIR": "/t"})
        for folder in ("/c/registry/src", "/w/target", "/t", "/w/.libtorch/include", "/w/crates"):
            self.assertIn(folder, folders)
        self.assertNotIn("/w", folders, "a short one occurs in other words")


class Libraries(Scratch):
    def closure(self, needs, present):
        folder = self.scratch / "lib"
        for name in present:
            self.file(f"lib/{name}")
        with unittest.mock.patch.object(elf, "needed", lambda path: needs[Path(path).name]):
            return elf.closure([Path("worker")], [self.scratch / "none", folder])

    def test_what_is_needed_is_followed_and_the_system_is_left_out(self):
        needs = {"worker": ["liba.so", "libc.so.6", "ld-linux-x86-64.so.2"], "liba.so": ["libb.so.1", "libstdc++.so.6"],
                 "libb.so.1": ["liba.so"]}
        found = self.closure(needs, ["liba.so", "libb.so.1", "libunused.so"])
        self.assertEqual(sorted(found), ["liba.so", "libb.so.1"])

    def test_what_is_nowhere_is_named(self):
        with self.assertRaisesRegex(FileNotFoundError, "libb.so.1: not in .*lib"):
            self.closure({"worker": ["liba.so"], "liba.so": ["libb.so.1"]}, ["liba.so"])

    def test_versions_are_compared_as_numbers(self):
        said = {"a": "Name: GLIBC_2.9  Name: GLIBCXX_3.4.9 GLIBC_PRIVATE", "b": "Name: GLIBC_2.34  Name: GLIBCXX_3.4.29"}
        with unittest.mock.patch.object(elf, "readelf", lambda option, path: said[path]):
            self.assertEqual(elf.newest(["a", "b"]), {"GLIBC": "2.34", "GLIBCXX": "3.4.29"})


class TheArchive(Scratch):
    def packed(self, name):
        os.utime(self.scratch / "lsgan" / "bin" / "worker")
        archive = self.scratch / f"{name}.tar.gz"
        command.pack(self.scratch / "lsgan", archive)
        return archive

    def test_equal_folders_give_equal_archives(self):
        self.file("lsgan/bin/worker", b"program")
        self.file("lsgan/README.md", b"text")
        one, other = self.packed("one"), self.packed("other")
        self.assertEqual(one.read_bytes(), other.read_bytes())
        with tarfile.open(one) as tar:
            self.assertEqual([(entry.name, oct(entry.mode), entry.uname) for entry in tar],
                             [("lsgan", "0o755", ""), ("lsgan/README.md", "0o644", ""), ("lsgan/bin", "0o755", ""),
                              ("lsgan/bin/worker", "0o755", "")])


class TheLicences(Scratch):
    def test_equal_texts_are_there_once(self):
        crates = []
        for name, text in (("one", b"MIT"), ("two", b"MIT"), ("three", b"BSD")):
            manifest = self.file(f"{name}/Cargo.toml")
            self.file(f"{name}/LICENSE-MIT", text)
            crates.append({"name": name, "version": "1.0.0", "license": "MIT", "license_file": None,
                           "manifest_path": str(manifest)})
        with unittest.mock.patch.object(licences, "crates", lambda root: crates):
            text = licences.of_crates(ROOT)
        self.assertIn("one 1.0.0: MIT\ntwo 1.0.0: MIT\n", text)
        self.assertEqual(text.count("\nMIT\n"), 1)


class GetLibtorch(Scratch):
    """With a Python that only makes what pip would."""

    def setUp(self):
        super().setUp()
        for path in layout.GET_LIBTORCH:
            copy = self.file(f"lsgan/bin/{Path(path).name}", (ROOT / path).read_bytes())
            copy.chmod(0o755)
        for name in ("worker", "lsgan"):
            self.program(f"lsgan/bin/{name}", f"echo {name} says $#")

    def program(self, name, text):
        path = self.file(name, f"#!/bin/sh\n{text}\n".encode())
        path.chmod(0o755)
        return path

    def run_it(self, python):
        environment = {"PATH": os.environ["PATH"], "PYTHON": str(python)}
        return subprocess.run([self.scratch / "lsgan/bin/get-libtorch"], capture_output=True, text=True, env=environment)

    def test_it_is_put_beside_the_binaries_and_kept(self):
        python = self.program("python", 'echo "$@" >>"$0.calls"; for last; do :; done; [ "$last" = --version ] || mkdir -p "$last/torch"')
        said = self.run_it(python)
        self.assertEqual((said.returncode, said.stdout), (0, "worker says 1\nlsgan says 1\n"), said.stderr)
        self.assertTrue((self.scratch / "lsgan/libtorch/torch").is_dir())
        calls = Path(f"{python}.calls").read_text()
        self.assertIn("--require-hashes", calls)
        self.assertEqual(self.run_it(python).returncode, 0)
        self.assertEqual(Path(f"{python}.calls").read_text(), calls, "what is there is not fetched again")

    def test_an_interrupted_one_leaves_nothing_that_counts(self):
        python = self.program("python", 'for last; do :; done; [ "$last" = --version ] || { mkdir -p "$last"; exit 1; }')
        said = self.run_it(python)
        self.assertEqual(said.returncode, 2)
        self.assertIn("pip could not install libtorch", said.stderr)
        self.assertFalse((self.scratch / "lsgan/libtorch").exists())

    def test_a_python_that_is_missing_is_named(self):
        said = self.run_it("/nowhere/python3")
        self.assertEqual(said.returncode, 2)
        self.assertIn("there is no /nowhere/python3; install Python 3.10 to 3.14", said.stderr)

    def test_its_libtorch_is_the_one_that_is_built_with(self):
        source = layout.Source(ROOT, ROOT, ROOT, "cuda")
        pins = (ROOT / layout.GET_LIBTORCH[1]).read_text()
        self.assertIn(f"\ntorch=={source.libtorch_version()} ", pins)
        built_with = [line for line in (ROOT / "scripts/requirements-libtorch.txt").read_text().splitlines()
                      if line.startswith(("nvidia-cuda-runtime", "nvidia-cuda-cupti"))]
        for pin in built_with:
            self.assertIn(f"\n{pin} ", pins)


if __name__ == "__main__":
    unittest.main()
