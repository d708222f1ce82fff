"""Whether `reduction: exact` trains as well as `exact64`: the scores of five seeds each, of the quickstart and of the ring.

A score is the distance of what G makes from the data (score_peer.py); it does not depend on how fast the machine is.
"""

import time

from measure import PEER_PYTHON, ROOT, lsgan, run

SEEDS = range(1, 6)
# Configuration and steps: enough to learn what there is to see, and no more.
RUNS = {"quickstart": ("configs/quickstart", 1000), "ring": ("bench/configs/mlp", 5000)}


def score(name, reduction, seed):
    config, steps = RUNS[name]
    command = [PEER_PYTHON, ROOT / "bench" / "score_peer.py", name]

    def read(journal):
        return run([*map(str, command), str(journal.parent / "final")], events=True)["score"]["score"]

    sets = [f"seed={seed}", f"reduction={reduction}", "samples.every=0", "checkpoint.every=0", "evaluate.every=0"]
    return lsgan(ROOT / config, steps, *sets, read=read)[1]


def golden(_rounds, wanted):
    groups = {}
    for name in RUNS:
        group = f"golden.{name}"
        if not wanted(group):
            continue
        for seed in SEEDS:
            for reduction in ("exact", "exact64"):
                began = time.monotonic()
                value = score(name, reduction, seed)
                groups.setdefault(group, {}).setdefault(reduction, []).append(round(value, 5))
                print(f"seed {seed}  {group:<18} {reduction:<8} {value:.5f}  ({time.monotonic() - began:.0f} s)", flush=True)
    return groups
