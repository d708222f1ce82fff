"""What more workers cost: the CPU time of a step, all workers together, with one worker and with eight on this machine.

The virtual ranks, and so the work and the weights, are the same eight of 16 pictures of 32 pixels.
"""

import os
import time

from cluster import Cluster

VIRTUAL_RANKS, PER_RANK = 8, 16
# CPU time is counted in hundredths of a second, so that this many steps make it exact enough.
STEPS, WARM_UP = 60, 10
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Workers(Cluster):
    sets = [f"batch.virtual_ranks={VIRTUAL_RANKS}", f"batch.per_rank={PER_RANK}", "report.every=1"]
    limit_s = 300

    def cpu_s(self):
        """What the workers have computed since they started, all their threads together."""
        def of(process):
            with open(f"/proc/{process.pid}/stat") as stat:
                user, system = stat.read().rsplit(")", 1)[1].split()[11:13]
            return (int(user) + int(system)) / TICKS_PER_S

        return sum(of(process) for process in self.workers.values())

    def at(self, steps):
        """(steps done, CPU time) when at least so many steps are done."""
        self.wait(f"step {steps}", lambda: self.journal.steps_done() >= steps)
        return self.journal.steps_done(), self.cpu_s()


def cpu_ms(workers):
    """CPU time of a step in ms."""
    with Workers("dcgan32-f32", workers=workers, expects=workers) as cluster:
        (first, before_s), (last, after_s) = cluster.at(WARM_UP), cluster.at(WARM_UP + STEPS)
        return (after_s - before_s) / (last - first) * 1e3


def scale(rounds, wanted):
    groups = {}
    if not wanted("scale.workers8"):
        return groups
    counts = [1, 2, 4, 8]
    for index in range(rounds):
        for workers in counts if index % 2 == 0 else reversed(counts):
            row, began = f"{workers} workers", time.monotonic()
            value = cpu_ms(workers)
            groups.setdefault("scale.workers8", {}).setdefault(row, []).append(round(value, 2))
            print(f"round {index + 1}/{rounds}  scale.workers8  {row}  {value:.1f}  ({time.monotonic() - began:.0f} s)", flush=True)
    return groups
