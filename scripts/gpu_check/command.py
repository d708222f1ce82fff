"""Arguments, the parts in their order, the report."""

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import RELEASE, ROOT, TARGET

from gpu_check import contract, machine, probe, quickstart, report, schedule
from gpu_check.schedule import Clock, Part

# The whole takes no longer; a loan of a machine is often 10 minutes.
TOTAL_S = 530

PARTS = [
    Part("probe", "what the machine has to compute with", probe.take, limit_s=60),
    Part("contract", "the collective's contract between processes", contract.take, limit_s=100),
    Part("quickstart", "the same final weights, whatever died", quickstart.take, limit_s=170, needs_s=30),
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
    # What the probe finds: how many GPUs, and why none is used.
    gpus: int = 0
    no_gpu: str = ""
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
    parser.add_argument("--binaries", type=Path, default=RELEASE, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=TARGET / "gpu-check", metavar="DIR",
                        help="where report.json and report.md go (default: %(default)s)")
    parser.add_argument("--part", metavar="PART,...", help=f"some of: {', '.join(p.name for p in PARTS)} (default: all)")
    parser.add_argument("--total", type=float, default=TOTAL_S, metavar="SECONDS",
                        help="what is not begun by then is left out (default: %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="everything on the CPU, to try this script")
    parser.add_argument("--list", action="store_true", help="print the binaries that are needed, with sizes, and end")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="strip them into this folder, and end")
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
    if args.list:
        print(machine.listing(args.binaries))
        return 0
    if missing := machine.lacking(args.binaries):
        cure = "cargo build --release --locked --workspace --bins --examples"
        print(f"error: {args.binaries} has no {', '.join(missing)}; `{cure}` makes them, --binaries DIR names another "
              "folder", file=sys.stderr)
        return 2
    if args.pack:
        machine.pack(args.binaries, args.pack)
        print(machine.listing(args.pack))
        return 0
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        return check(args, Path(scratch))


def check(args, scratch):
    torch = machine.find_torch(ROOT)
    context = Context(
        binaries=args.binaries, scratch=scratch, torch=torch,
        env=machine.environment(torch, os.environ), clock=Clock(args.total), cpu=args.cpu,
    )
    facts = about(torch)
    for key, value in facts.items():
        print(f"{key}: {value}")
    if torch and torch.version.split("+")[0] != machine.LIBTORCH_VERSION:
        print(f"warning: the binaries are built for libtorch {machine.LIBTORCH_VERSION}", file=sys.stderr)
    probe, *others = args.parts
    outcomes = schedule.run([probe], context, context.clock, say)
    if outcomes[0].word == "passed":
        outcomes += schedule.run(others, context, context.clock, say)
    else:
        print("the other parts need what the probe did not find, and are left out")
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
