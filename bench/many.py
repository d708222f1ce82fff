"""Many real workers of a tiny model on this machine: they form, lose some at once, form again, and end with the weights of one."""

import os
import signal

from cluster import Cluster, wall_ms
from measure import BenchError
from report import OURS

WORKERS, LOST = 64, 10
STEPS = 60
# The steps that are done when some are lost.
LOSE_AFTER = 10


class Many(Cluster):
    sets = (
        f"steps={STEPS}",
        f"batch.virtual_ranks={WORKERS}",
        "batch.per_rank=8",
        f"cluster.max_workers={WORKERS}",
        "report.every=1",
    )
    limit_s = 300

    def resident_mib(self):
        """What the workers have in memory together, a page that several have once."""
        def proportional_kib(pid):
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))

        return sum(proportional_kib(process.pid) for process in self.workers.values()) / 1024

    def moment_ms(self, column, generation):
        """When a generation was formed, or began to step."""
        return self.journal.all(f"SELECT {column} FROM generations WHERE generation = ?", generation)[0][0]


def workers64(_random):
    """cluster.workers64.start: from the first of 64 commands until all are attached. cluster.workers64.form: from there until all train.
    cluster.workers64: from SIGKILL to ten of them until the others train."""
    return many(WORKERS, LOST)


def many(workers, lost):
    with Many("sessions", workers=0, expects=workers) as run:
        begin = wall_ms()
        for _ in range(workers):
            run.start_worker()
        first = run.wait_for_steps(LOSE_AFTER)
        attached = run.journal.all("SELECT max(joined_ms) FROM workers")[0][0]
        form_ms = run.moment_ms("stepping_ms", first.number) - attached
        mib = run.resident_mib()
        going = sorted(run.workers)[:lost]
        killed_ms = wall_ms()
        # All signals, and then the waiting.
        for name in going:
            run.workers[name].send_signal(signal.SIGKILL)
        for name in going:
            run.workers.pop(name).wait()
        run.expects = workers - lost
        second = run.wait_for_steps(1, since_ms=killed_ms)
        reform_ms = run.moment_ms("stepping_ms", second.number) - killed_ms
        end(run)
        weights = run.journal.final_hashes()
    check(weights)
    return {
        ("cluster.workers64", OURS): reform_ms / 1e3,
        ("cluster.workers64", "start"): (attached - begin) / 1e3,
        ("cluster.workers64", "form"): form_ms / 1e3,
        ("cluster.workers64", "MiB a worker"): mib / workers,
    }


def end(run):
    if run.coordinator.wait(timeout=run.limit_s):
        raise BenchError(f"the run did not end well:\n{run.log('coordinator')}")


def check(weights):
    """One worker trains the same."""
    with Many("sessions", workers=1, expects=1) as run:
        end(run)
        alone = run.journal.final_hashes()
    if weights != alone:
        raise BenchError(f"many workers end with other weights than one: {weights}, {alone}")


if __name__ == "__main__":
    print(many(int(os.environ.get("MANY", WORKERS)), int(os.environ.get("LOST", LOST))))
