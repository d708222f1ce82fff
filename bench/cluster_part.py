"""What a cluster's run loses when many of its workers go at once, when others flood its coordinator, when the
coordinator's host is lost (failover.py), and by TLS (tls_part.py); and how long 64 workers need to form (many.py)."""

import json
import subprocess
from random import Random

from cluster import Cluster, wall_ms
from failover import failover
from many import workers64
from measure import RELEASE, ROOT, BenchError
from report import OURS
from timeline import longest_pause_s, missing, redone, step_ends
from tls_part import ring, step

WORKERS = 8
# Each worker has one of so many virtual ranks. Half of them can take over the others'.
SETS = (f"batch.virtual_ranks={WORKERS}", "batch.per_rank=8")
FLOOD_S = 10
# How a worker ends that left: told to end before the run did, or finished.
LEFT = (143, 0)


class EightWorkers(Cluster):
    sets = SETS


class TwoWorkers(Cluster):
    # Who floods attaches as a worker, and stands by.
    sets = ("cluster.max_workers=2",)


def cluster(rounds, wanted):
    """All groups that are wanted for the report, from so many rounds."""
    groups, random = {}, Random(1)
    each = [("evict.half", evict_half), ("flood", flood), ("failover", failover), ("tls.step", step), ("tls.ring", ring)]
    each += [("cluster.workers64", workers64)]
    takes = [(group, take) for group, take in each if wanted(group)]
    for index in range(rounds):
        for _, take in takes:
            for (group, row), figure in take(random).items():
                groups.setdefault(group, {}).setdefault(row, []).append(round(figure, 4))
                print(f"round {index + 1}/{rounds}  {group:<20} {row:<20} {figure:>9.4g}", flush=True)
    return groups


def evict_half(random):
    """SIGTERM to four of eight workers at once, as when nodes are drained.

    evict.half.pause: the longest time between the ends of two steps, from the signals until the other four have stepped for
    a while, less a usual step before. evict.half.lost: steps without a row of metrics, and steps that were done again.
    """
    with EightWorkers("recovery", workers=WORKERS, expects=WORKERS) as run:
        formed = run.wait_for_steps(random.randint(50, 100))
        going = random.sample(sorted(run.workers), WORKERS // 2)
        evicted_ms = wall_ms()
        processes = [run.workers.pop(name) for name in going]
        for process in processes:
            process.terminate()
        run.expects = WORKERS // 2
        try:
            run.wait_for_steps(50, since_ms=evicted_ms)
            codes = [process.wait(timeout=run.limit_s) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if any(code not in LEFT for code in codes):
            raise BenchError(f"workers that were told to go ended with {codes}:\n{run.log(going[0])}")
        ends = step_ends(run.journal.metrics(since_ms=formed.formed_ms))
        news = [g for g in run.journal.generations() if g.formed_ms >= evicted_ms]
        lost = missing(ends) + sum(redone(ends, g.formed_ms, g.from_reduction) for g in news)
        pause = longest_pause_s(ends, evicted_ms)
    return {("evict.half", OURS): pause, ("evict.half", "steps lost"): lost}


def flood(random):
    """Three clients flood the coordinator of two workers for ten seconds: crates/coordinator/examples/flood.rs.

    flood.deaf: the longest time that `status` was not answered, or between the ends of two steps less a usual one before,
    whichever is longer. The clients are on other hosts in earnest, so that they get only what the run leaves of the CPU here.
    """
    with TwoWorkers("recovery") as run:
        run.wait_for_steps(random.randint(50, 100))
        generations = len(run.journal.generations())
        begin = wall_ms()
        command = ["nice", "-n", "19", RELEASE / "examples" / "flood"]
        command += ["--coordinator", f"http://{run.address}", "--seconds", FLOOD_S]
        done = subprocess.run([*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise BenchError(f"{command} failed, see above; the coordinator says:\n{run.log('coordinator')}")
        said = json.loads(done.stdout)
        end = wall_ms()
        run.wait("a step after the flood", lambda: run.journal.newest_ms() > end)
        ends = step_ends(run.journal.metrics())
        if len(run.journal.generations()) != generations or missing(ends):
            raise BenchError(f"the flood moved the run:\n{run.log('coordinator')}")
        pause = longest_pause_s(ends, begin)
    return {
        ("flood", OURS): max(said["status_s"], pause),
        ("flood", "status"): said["status_s"],
        ("flood", "steps"): pause,
        ("flood", "messages/s"): (said["warnings"] + said["metrics"]) / FLOOD_S,
    }
