"""What TLS costs: a step of the quickstart, and the ring of two workers."""

import json
import tempfile
from pathlib import Path

import measure
import timeline
from measure import RELEASE, ROOT, SCRATCH
from report import OURS

PLAIN = "without TLS"
# What changes the speed of a machine lasts longer than a run: so many pairs of short ones, in an order that is reversed from
# pair to pair.
PAIRS = 4
STEPS, WARM_UP = 100, 20
RING_ROUNDS = 31


def step(_random):
    """tls.step: ms of a step of the quickstart with two workers; the mean over the steps of all its runs in a round."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="certs-", dir=SCRATCH) as folder:
        certs = Path(folder) / "certs"
        measure.run([str(RELEASE / "lsgan"), "certs", "init", str(certs)])
        ways = [(PLAIN, ()), (OURS, ("--tls", certs))]
        gaps = {row: [] for row, _ in ways}
        for pair in range(PAIRS):
            for row, more in ways if pair % 2 == 0 else reversed(ways):
                gaps[row] += step_gaps_ms(more)
    return {("tls.step", row): timeline.trimmed_mean(each) for row, each in gaps.items()}

def step_gaps_ms(more):
    """ms from the end of a step to the end of the next, of each step after the warm-up."""
    sets = ("report.every=1", "samples.every=0", f"checkpoint.every={STEPS + WARM_UP}")
    quickstart = ROOT / "configs" / "quickstart"
    _, rows = measure.lsgan(quickstart, STEPS + WARM_UP, *sets, more=more)
    return timeline.gaps([row for row in rows if row[0] >= WARM_UP])


def ring(_random):
    """tls.ring: MB/s of an all-reduce of 32 MiB between two processes, encrypted and not; the program alternates by itself."""
    output = measure.run([str(RELEASE / "examples" / "all_reduce_bench"), str(RING_ROUNDS)])
    line = json.loads(output.splitlines()[-1])
    rows = {OURS: line["sealed_bytes_per_s"], PLAIN: line["bytes_per_s"]}
    return {("tls.ring", row): rate / 1e6 for row, rate in rows.items()}
