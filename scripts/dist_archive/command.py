"""The command line of scripts/dist."""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from . import chroot, folder as layout, verify

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
# The time of every file: a date says nothing that the version does not.
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def arguments(doc):
    summary, _, rest = doc.partition("\n\n")
    parser = argparse.ArgumentParser(prog="scripts/dist", description=summary, epilog=rest,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--binaries", type=Path, default=TARGET / "release", metavar="DIR",
                        help="where the binaries are (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=TARGET / "dist", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--folder", action="store_true", help="make and check the folder alone")
    parser.add_argument("--try", type=Path, dest="root", metavar="ROOT",
                        help="the quickstart from the archive in this root file system")
    args = parser.parse_args()
    if args.root and args.variant == "cuda":
        parser.error("--try is for the variant cpu: the other one needs a network")
    return args


def main(doc):
    args = arguments(doc)
    source = layout.Source(ROOT, args.binaries.resolve(), libtorch(), args.variant)
    archive = args.out / f"{source.name()}.tar.gz"
    if missing := lacking(source):
        print("error: this lacks what an archive is made of:", *missing, sep="\n  - ", file=sys.stderr)
        return 2
    if args.root and archive.is_file():
        print(f"{archive}, as it is:")
        return chroot.quickstart(archive, args.root)
    try:
        folder = layout.make(source, args.out)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: the folder cannot be made: {error}", file=sys.stderr)
        return 2
    if found := verify.problems(source, folder):
        print(*(f"error: {folder.name}/{problem}" for problem in found), sep="\n", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.0f} MB unpacked")
    print((folder / layout.REQUIREMENTS).read_text(), end="")
    if args.folder:
        return 0
    pack(folder, archive)
    print(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB")
    return chroot.quickstart(archive, args.root) if args.root else 0


def libtorch():
    """What LIBTORCH names, or what `make setup` installed."""
    return Path(os.environ.get("LIBTORCH") or ROOT / ".libtorch")


def lacking(source):
    missing = [f"the program {name}: it is a part of binutils" for name in ("readelf", "strip") if not shutil.which(name)]
    missing += [f"{source.binaries / name}: `make build` makes it" for name in layout.BINARIES
                if not (source.binaries / name).is_file()]
    if not (source.libtorch / "lib").is_dir():
        missing.append(f"libtorch: {source.libtorch} has no lib/; `make setup` installs one")
    return missing


def pack(folder, archive):
    """The same bytes for the same folder: sorted, without owners, dates and a name in the gzip header."""
    part = archive.with_suffix(".part")
    with open(part, "wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=EPOCH) as zipped, \
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted([folder, *folder.rglob("*")]):
            entry = tar.gettarinfo(path, str(path.relative_to(folder.parent)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = EPOCH
            entry.mode = 0o755 if path.is_dir() or path.parent.name in ("bin", "lib") else 0o644
            if path.is_dir():
                tar.addfile(entry)
            else:
                with open(path, "rb") as content:
                    tar.addfile(entry, content)
    part.replace(archive)
