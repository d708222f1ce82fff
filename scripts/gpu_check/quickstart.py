"""The quickstart's final weights: the same bits from every run, whatever died."""

import re
import tempfile
import time
from pathlib import Path

from cluster import Cluster, Journal
from measure import BenchError
from timeline import end_after, redone, step_ends

from gpu_check import process
from gpu_check.schedule import Failed

STEPS, STEPS_ON_CPU = 400, 80


def take(context):
    steps = STEPS_ON_CPU if context.cpu else STEPS
    workers = 2 if context.shares_gpu or context.gpus > 1 else 1
    figures = {"steps": steps, "hashes": {}, "images_per_s": {}}

    def ended(what, hashes, rows):
        figures["hashes"][what] = hashes
        figures["images_per_s"][what] = rate(rows)
        context.say(f"{what}: generator {hashes['generator'][:16]}, {figures['images_per_s'][what]} images/s")

    try:
        for what in ["1 worker", "1 worker again"]:
            ended(what, *up(context, steps)[:2])
        if workers == 2:
            with Run(context, steps, 2) as run:
                ended("2 workers", *run.end())
        else:
            context.say("2 workers: left out, NCCL refuses two ranks on this GPU")
        with Run(context, steps, workers) as run:
            figures |= run.kill(steps // 3)
            ended("2 workers, one killed" if workers == 2 else "1 worker, killed", *run.end())
    except (BenchError, Failed) as error:
        raise Failed(str(error), figures) from error
    again = figures["steps_redone"]
    context.say(f"the next step ended {figures['recovery_s']} s after the SIGKILL; {again} were done again")
    if differing := different(figures["hashes"]):
        raise Failed(f"the final weights differ: {differing}", figures)
    return figures


def graphs(context):
    """The same with CUDA graphs and without; what the worker said of them."""
    steps = STEPS_ON_CPU if context.cpu else STEPS
    figures = {"steps": steps, "hashes": {}, "images_per_s": {}}
    for what in ["off", "auto"]:
        try:
            hashes, rows, said = up(context, steps, [f"compute.cuda_graphs={what}"])
        except (BenchError, Failed) as error:
            raise Failed(f"compute.cuda_graphs {what}: {error}", figures) from error
        figures["hashes"][what], figures["images_per_s"][what] = hashes, rate(rows)
        context.say(f"{what}: generator {hashes['generator'][:16]}, {figures['images_per_s'][what]} images/s")
    figures["said"] = "; ".join(said) or "nothing"
    context.say(f"it said: {figures['said']}")
    if differing := different(figures["hashes"]):
        raise Failed(f"the final weights differ: {differing}", figures)
    if not context.cpu and not any("replayed as CUDA graphs" in line for line in said):
        raise Failed(f"no graphs were used: {figures['said']}", figures)
    return figures


def sets(context, steps, workers):
    """The overrides of the quickstart's file."""
    # Where nobody survives a kill, a snapshot is what it goes on from.
    every = steps // 6 if workers == 1 else 0
    device = "cpu" if context.cpu else "cuda"
    common = [f"steps={steps}", f"compute.device={device}", "samples.every=0", "evaluate.every=0", "report.every=1"]
    return [*common, f"checkpoint.every={every}"]


def up(context, steps, more=()):
    """`lsgan up` with one worker; hashes, rows (step, ms of its end), and what was logged of CUDA graphs."""
    with tempfile.TemporaryDirectory(prefix="up-", dir=context.scratch) as folder:
        run_dir = Path(folder) / "run"
        command = [context.binary("lsgan"), "up", "--config", context.config, "--workers", 1, "--run-dir", run_dir]
        command += [word for override in [*sets(context, steps, 1), *more] for word in ("--set", override)]
        process.run(context, command, what="lsgan up")
        journal = Journal(run_dir / "journal.sqlite")
        try:
            return journal.final_hashes(), journal.metrics(), logged(run_dir, "CUDA graphs")
        finally:
            journal.connection.close()


def logged(run_dir, words):
    """The lines of a run's logs that have these words, from there to their end."""
    lines = (line for log in sorted(run_dir.glob("logs/*")) for line in log.read_text(errors="replace").splitlines())
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines if words in line]


class Run(Cluster):
    """The quickstart with a coordinator and workers that we can kill, each worker with its own NCCL_HOSTID."""

    def __init__(self, context, steps, workers):
        super().__init__("", workers, workers)
        self.context, self.config = context, context.config
        self.binaries, self.scratch = context.binaries, context.scratch
        self.sets = sets(context, steps, workers)

    @property
    def limit_s(self):
        return self.context.clock.left_s()

    def environment(self, name):
        return self.context.env | self.context.own_host(name)

    def kill(self, steps):
        """Kills the worker of rank 0 after so many steps, and starts another; what followed."""
        formed = self.wait_for_steps(steps)
        killed = self.kill_worker(self.member(0))
        self.start_worker()
        self.wait_for_end(since_ms=killed)
        ends = step_ends(self.journal.metrics(since_ms=formed.formed_ms))
        after = next(g for g in self.journal.generations() if g.formed_ms >= killed)
        again = redone(ends, after.formed_ms, after.from_reduction)
        return {"recovery_s": round((end_after(ends, after.formed_ms) - killed) / 1e3, 3), "steps_redone": again}

    def end(self):
        """Waits for the run's end; hashes, and rows."""

        deadline = time.monotonic() + self.limit_s
        while self.coordinator.poll() is None:
            if time.monotonic() > deadline:
                raise BenchError(f"the run did not end in time:\n{self.log('coordinator')}")
            time.sleep(0.05)
        if self.coordinator.returncode:
            raise BenchError(f"the coordinator ended with {self.coordinator.returncode}:\n{self.log('coordinator')}")
        return self.journal.final_hashes(), self.journal.metrics()


def rate(rows, batch=64):
    """Images/s of the second half of the steps, from rows (step, ms of its end, ...)."""
    half = rows[len(rows) // 2 :]
    if len(half) < 2 or half[-1][1] <= half[0][1]:
        return None
    return round((half[-1][0] - half[0][0]) * batch / (half[-1][1] - half[0][1]) * 1e3, 1)


def different(hashes):
    """The runs whose weights are not those of the first, in words; empty if there are none."""
    first, *others = hashes.items()
    return ", ".join(f"{what} is not {first[0]}" for what, found in others if found != first[1])
