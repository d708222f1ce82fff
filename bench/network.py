"""Two workers in network namespaces, joined by a link of a given rate, with PyTorch's DDP over the same link.

It needs root for `ip netns` and `tc`; the namespaces are its own and are gone when it ends. Traffic stays between them.
"""

import json
import math
import os
import re
import subprocess

from cluster import Cluster
from measure import LIMIT_S, PEER_PYTHON, ROOT, WORKERS, BenchError, lsgan, query, run, steady_step_ms
from report import BESIDE, EAGER, OURS

RATES = {"free": None, "10g": "10gbit", "1g": "1gbit", "200m": "200mbit"}
TUNED = "pytorch tuned"
FP16_HOOK = "pytorch tuned, fp16 hook"
# Headers of Ethernet, IP and TCP with time stamps, which the kernel counts for each packet that it queues.
HEADERS_BYTES = 14 + 20 + 32
# Name, configuration, images of a worker in a step, DDP's variants, steps and warm-up of a measurement.
CASES = [
    ("dcgan64.f32", "dcgan64-f32", 64, {EAGER: "eager", TUNED: "tuned", FP16_HOOK: "fp16-hook"}, (12, 4)),
    ("dcgan64.bf16", "dcgan64-bf16", 64, {"pytorch bf16": "bf16"}, (24, 4)),
    ("dcgan64b16.f32", "dcgan64-f32", 16, {EAGER: "eager", TUNED: "tuned"}, (40, 4)),
    ("dcgan32.f32", "dcgan32-f32", 64, {EAGER: "eager", TUNED: "tuned"}, (100, 20)),
]


class Link:
    """Two namespaces and the cable between them."""

    def __init__(self, rate):
        self.rate = rate
        self.names = [f"lsgan-bench-{os.getpid()}-{side}" for side in range(WORKERS)]

    def __enter__(self):
        try:
            for name in self.names:
                ip("netns", "add", name)
            ends = [f"name eth0 netns {name}".split() for name in self.names]
            ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
            for side, name in enumerate(self.names):
                inside = ["-n", name]
                ip(*inside, "addr", "add", f"{address(side)}/24", "dev", "eth0")
                for device in ["lo", "eth0"]:
                    ip(*inside, "link", "set", device, "up")
                if self.rate:
                    limit = ["root", "tbf", "rate", self.rate, "burst", "256kb", "latency", "100ms"]
                    call("tc", *inside, "qdisc", "add", "dev", "eth0", *limit)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def sent_bytes(self):
        """What side 1 has sent, without headers."""
        counters = call("ip", "-n", self.names[1], "-s", "link", "show", "dev", "eth0")
        sent, packets = map(int, re.search(r"TX:.*\n\s*(\d+)\s+(\d+)", counters).groups())
        return sent - packets * HEADERS_BYTES


def address(side):
    return f"10.77.0.{side + 1}"


def call(*command):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise BenchError(f"{' '.join(command)}: {getattr(error, 'stderr', '') or error}") from error


def ip(*words):
    return call("ip", *words)


def unusable():
    """Why this machine cannot measure it; None if it can."""
    try:
        with Link("1gbit"):
            return None
    except BenchError as error:
        return str(error).strip()


class Remote(Cluster):
    """A cluster with one worker in each namespace, and its coordinator in the first."""

    def __init__(self, link, config, *sets):
        super().__init__(config)
        self.link, self.sets, self.address = link, sets, f"{address(0)}:0"

    def start(self, name, command, stdout):
        side = max(self.started - 1, 0)  # workers are counted before they are started
        inside = ["ip", "netns", "exec", self.link.names[side]]
        return super().start(name, [*inside, *command], stdout)

    def environment(self, name):
        # A network of its own, in which nobody else is.
        return {**super().environment(name), "LSGAN_INSECURE": "true"}

    def peer_address(self):
        return f"{address(self.started - 1)}:0"


def ours(link, config, per_rank, steps, warm_up):
    """Images/s, the share of a step that waits for sums, the parts of sums that travelled again in a step, sent bytes a
    step and a parameter."""
    sets = [f"steps={steps + warm_up}", f"batch.per_rank={per_rank}", "report.every=4"]
    with Remote(link, config, *sets) as cluster:
        if cluster.coordinator.wait(timeout=LIMIT_S):
            raise BenchError(cluster.log("coordinator"))
        rows = cluster.journal.all("SELECT step, wall_ms, reduce_ms, step_ms, sums_repeated FROM metrics ORDER BY step")
        step_ms = steady_step_ms([row[:2] for row in rows], warm_up)
        steady = [row for row in rows if row[0] >= warm_up]
        exposed = sum(row[2] for row in steady) / sum(row[3] for row in steady)
        repeated = sum(row[4] for row in steady) / len(steady)
        # The first step has no second moments yet and sends 8 bytes a parameter, as much as two others.
        sent = link.sent_bytes() / (steps + warm_up + 1)
        return WORKERS * per_rank / step_ms * 1e3, exposed, repeated, sent, sent / parameters(cluster.run_dir / "final")


def parameters(folder):
    """How many numbers are trained, by the headers of the weights' files; G's average has G's again."""
    count = 0
    for name in ("generator", "discriminator"):
        with open(folder / f"{name}.safetensors", "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        shapes = (of["shape"] for tensor, of in header.items() if of["shape"] and "running" not in tensor)
        count += sum(math.prod(shape) for shape in shapes)
    return count


def repeats():
    """The share of the quickstart's steps in which a part of a sum travelled again; the first are among them."""
    def read(journal):
        return query(journal, "SELECT avg(sums_repeated > 0) FROM metrics")[0][0]

    return lsgan(ROOT / "configs" / "quickstart", 0, "report.every=1", "evaluate.every=0", read=read)[1]


def ddp(link, model, variant, per_rank, steps, warm_up):
    command = [PEER_PYTHON, ROOT / "bench/ddp_peer.py", "--model", model, "--variant", variant, "--malloc", "keep"]
    command += ["--per-rank", per_rank, "--steps", steps, "--warm-up", warm_up]
    command += ["--namespaces", ",".join(link.names), "--master", address(0), "--interface", "eth0"]
    return run([*map(str, command)], events=True)["result"]["images_per_s"]


def network(rounds, wanted):
    groups = {}
    if wanted("sum.quickstart"):
        groups["sum.quickstart"] = {OURS: [repeats()]}
    if why := unusable():
        print(f"skipped: part network needs network namespaces, which this machine does not allow: {why}")
        return groups
    for index in range(rounds):
        for rate, limit in RATES.items():
            for name, config, per_rank, variants, lengths in CASES:
                group = f"network.{rate}.{name}"
                if not wanted(group):
                    continue
                rows = {OURS: None, **variants}
                for row in list(rows) if index % 2 == 0 else reversed(rows):
                    with Link(limit) as link:
                        if row == OURS:
                            found = ours(link, config, per_rank, *lengths)
                        else:
                            model = config.split("-")[0]
                            found = [ddp(link, model, rows[row], per_rank, *lengths)]
                    print(f"round {index + 1}/{rounds}  {group:<28} {row:<26} " + " ".join(f"{f:.4g}" for f in found), flush=True)
                    names = [row, *BESIDE]
                    for name_of, value in zip(names, found):
                        groups.setdefault(group, {}).setdefault(name_of, []).append(round(value, 4))
    return groups
