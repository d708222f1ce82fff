"""Arguments, the parts in their order, the report."""

import argparse
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import RELEASE, ROOT, TARGET

from gpu_check import contract, golden, machine, probe, quickstart, report, schedule, speed
from gpu_check.schedule import Clock, Part

# The whole takes no longer; a loan of a machine is often 10 minutes.
TOTAL_S = 530

CLUSTER = ("lsgan", "coordinator", "worker")
PARTS = [
    Part("probe", "what the machine has to compute with", probe.take, ("worker",), limit_s=60),
    # First, so that one loan of a machine answers it whatever comes after.
    Part("headline", "images/s of bf16 DCGAN-64, PyTorch beside it", speed.headline, CLUSTER, limit_s=150, needs_s=60),
    Part("contract", "the collective's contract between processes", contract.take, ("contract_rank",), limit_s=90),
    Part("golden", "three steps beside PyTorch's numbers", golden.take, ("golden_step",), limit_s=40),
    Part("quickstart", "the same final weights, whatever died", quickstart.take, CLUSTER, limit_s=150, needs_s=30),
    Part("graphs", "the same weights with CUDA graphs", quickstart.graphs, CLUSTER, limit_s=60, needs_s=20),
    Part("snapshot", "how long training stands still for one", speed.snapshot, CLUSTER, limit_s=40, needs_s=15),
    Part("speed", "images/s, PyTorch beside it", speed.take, CLUSTER, limit_s=TOTAL_S, needs_s=30),
]


@dataclass
class Context:
    """What every part is given."""

    binaries: Path
    scratch: Path
    torch: machine.Torch | None
    env: dict
    clock: Clock
    cpu: bool
    root: Path = ROOT
    config: Path = ROOT / "configs" / "quickstart.yaml"
    # A Python that has PyTorch, to compare with.
    peer: str | None = None
    # How many there are; the probe finds out.
    gpus: int = 0
    # Whether NCCL lets several ranks have one GPU; the contract finds out.
    shares_gpu: bool = True

    def binary(self, name):
        return machine.binary(self.binaries, name)

    def own_host(self, name):
        """What makes NCCL take a process for one on a host of its own, where there are not GPUs enough."""
        return {"NCCL_HOSTID": f"gpu-check-{name}"} if self.gpus == 1 else {}

    def say(self, text):
        for line in str(text).splitlines():
            print(f"    {line}", flush=True)


def arguments(doc):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=Path, default=RELEASE, metavar="DIR",
                        help="a folder, or what --pack made (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=TARGET / "gpu-check", metavar="DIR",
                        help="where report.json and report.md go (default: %(default)s)")
    parser.add_argument("--part", metavar="PART,...",
                        help=f"some of: {', '.join(part.name for part in PARTS)} (default: all)")
    parser.add_argument("--total", type=float, default=TOTAL_S, metavar="SECONDS",
                        help="what is not begun by then is left out (default: %(default)s)")
    parser.add_argument("--python", metavar="PYTHON",
                        help="a Python that has PyTorch, to take libtorch from if LIBTORCH is not set, and to compare "
                             "with (default: the first that is found)")
    parser.add_argument("--cpu", action="store_true", help="everything on the CPU, to try this script")
    parser.add_argument("--list", action="store_true", help="print the binaries that are needed, with sizes, and end")
    parser.add_argument("--pack", type=Path, metavar="FILE.tar.xz", help="strip them into this archive, and end")
    args = parser.parse_args()
    names = [name.strip() for name in args.part.split(",")] if args.part else [part.name for part in PARTS]
    if unknown := [name for name in names if name not in {part.name for part in PARTS}]:
        parser.error(f"there is no part {', '.join(unknown)}; the parts are {', '.join(p.name for p in PARTS)}")
    if args.total <= 0:
        parser.error("--total must be more than 0 seconds")
    # The probe says what the others can count on.
    args.parts = [part for part in PARTS if part.name in names or part.name == "probe"]
    args.binaries = args.binaries.resolve()
    return args


def main(doc):
    args = arguments(doc)
    if args.pack and not args.pack.name.endswith(machine.PACKED):
        print(f"error: --pack is {args.pack}; the archive's name must end in {machine.PACKED}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        try:
            return run(args, Path(scratch))
        except KeyboardInterrupt:
            print("interrupted; no report is written", file=sys.stderr)
            return 130


def run(args, scratch):
    if args.binaries.is_file():
        try:
            args.binaries = machine.unpack(args.binaries, scratch / "binaries")
        except (OSError, tarfile.TarError) as error:
            print(f"error: {args.binaries} is no archive that --pack made: {error}", file=sys.stderr)
            return 2
    if args.list:
        print(machine.listing(args.binaries))
        return 0
    needed = machine.BINARIES if args.pack else sorted({name for part in args.parts for name in part.binaries})
    if missing := machine.lacking(args.binaries, needed):
        cure = "cargo build --release --locked --workspace --bins --examples"
        print(f"error: {args.binaries} has no {', '.join(missing)}; `{cure}` makes them, --binaries names another "
              "folder", file=sys.stderr)
        return 2
    return pack(args, scratch) if args.pack else check(args, scratch)


def pack(args, scratch):
    try:
        machine.pack(args.binaries, scratch / "stripped", args.pack)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: {args.pack} was not written: {error}", file=sys.stderr)
        return 1
    size = args.pack.stat().st_size
    print(f"{machine.listing(scratch / 'stripped')}\n{args.pack}: {size / (1 << 20):.1f} MiB")
    if size > machine.PACKED_MAX_BYTES:
        print(f"error: it has {size} bytes; at most {machine.PACKED_MAX_BYTES} travel", file=sys.stderr)
        return 1
    return 0


def check(args, scratch):
    torch = machine.find_torch(ROOT, args.python)
    context = Context(
        binaries=args.binaries, scratch=scratch, torch=torch,
        env=machine.environment(torch, os.environ), clock=Clock(args.total), cpu=args.cpu,
        peer=args.python or (torch and torch.python),
    )
    facts = about(torch)
    for key, value in facts.items():
        print(f"{key}: {value}")
    if torch and torch.version.split("+")[0] != machine.LIBTORCH_VERSION:
        print(f"warning: the binaries are built for libtorch {machine.LIBTORCH_VERSION}", file=sys.stderr)
    probe, *others = args.parts
    outcomes = schedule.run([probe], context, context.clock, say)
    # Where there is a GPU that libtorch cannot use, NCCL may still; without a GPU nothing is left to check.
    if outcomes[0].word == "passed" or context.gpus > 0:
        outcomes += schedule.run(others, context, context.clock, say)
    elif others:
        print("without a GPU the other parts are left out")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.json").write_text(report.as_json(facts, outcomes))
    (args.out / "report.md").write_text(report.as_markdown(facts, outcomes))
    print(f"\n{report.summary(outcomes)}; written to {args.out / 'report.json'} and {args.out / 'report.md'}")
    return report.exit_code(outcomes)


def about(torch):
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, kernel {platform.release()}",
        "libtorch": f"{torch.version} in {torch.folder}" if torch else "none found: set LIBTORCH",
        "python": platform.python_version(),
    }


def say(text):
    print(text, flush=True)
