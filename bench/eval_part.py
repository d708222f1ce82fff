"""What scores cost.

eval.score: ours and torch-fidelity's, of the same generator, with the same pictures in files, the same small network that makes
features, FID, KID and precision and recall. One core each. torch-fidelity has two ways to read pictures and to compare features
(`save_cpu_ram`: in this process and in parts; else in others and at once), and the faster one counts.

eval.standby, eval.writer: images/s of a run whose workers score its snapshots (`evaluate.where`), and of the same run that scores
nothing; both write the same snapshots. The standby is a second worker on this machine, beside one that trains, on a core each: it
has a host of its own in earnest. The writer is one of two that train, on all cores.
"""

import functools
import os
import shutil
import time
from pathlib import Path

import measure
from cluster import Cluster
from measure import PEER_PYTHON, RELEASE, ROOT, SCRATCH, BenchError, run
from report import NOT_SCORED, OURS

PEERS = {"torch-fidelity": "at-once", "torch-fidelity, in parts": "in-parts"}
METRICS = "fid,kid,precision,recall"
# Both sides take so many samples, and all 10,000 pictures.
SAMPLES = 5000
FOLDER = SCRATCH / "eval"
PICTURES, RUN, CACHE, KEPT = FOLDER / "fashion", FOLDER / "run", FOLDER / "cache", FOLDER / "kept"
ONE_CORE = ["taskset", "--cpu-list", min(os.sched_getaffinity(0))]

# The quickstart's network and batch (bench/configs/recovery.yaml), scored ten times as often as the quickstart.
EVERY, STEPS, WARM_UP = 50, 250, 50
BATCH = 64
LIMIT_S = 240
# What changes the speed of a machine lasts longer than a run: pairs, in an order that is reversed from pair to pair.
PAIRS = 2
# How many train, and how many stand by.
WORKERS = {"standby": (1, 1), "writer": (2, 0)}


def evaluate(rounds, wanted):
    groups = {}
    if wanted("eval.score"):
        prepare()
        groups["eval.score"] = scores(rounds)
    for place in WORKERS:
        if wanted(f"eval.{place}"):
            groups[f"eval.{place}"] = rates(place, rounds)
    return groups


def scores(rounds):
    rows = {OURS: ours} | {name: functools.partial(peer, way) for name, way in PEERS.items()}
    figures = {name: [] for name in rows}
    for index in range(rounds):
        for name in in_turn(rows, index):
            figures[name].append(round(rows[name](), 3))
            show(index, rounds, "eval.score", name, figures[name][-1], "s")
    return figures


def in_turn(rows, index):
    return list(rows) if index % 2 == 0 else list(reversed(rows))


def show(index, rounds, group, row, figure, unit):
    print(f"round {index + 1}/{rounds}  {group:<20} {row:<20} {figure:>9.4g} {unit}", flush=True)


def prepare():
    """The quickstart's pictures as files, and a short run on them."""
    if (RUN / "final").exists():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    images = ROOT / "datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
    run([*map(str, [RELEASE / "lsgan", "dataset", "export", f"idx:{images}", "--out", PICTURES])])
    config = ROOT / "bench/configs/eval.yaml"
    command = [RELEASE / "lsgan", "up", "--workers", 2, "--config", config, "--run-dir", RUN]
    run([*map(str, command), "--set", f"data.source.folder.path={PICTURES}"])


def ours():
    """From the command to its end, with nothing kept from before."""
    shutil.rmtree(CACHE, ignore_errors=True)
    command = [*ONE_CORE, RELEASE / "lsgan", "eval", "--run", RUN, "--metrics", METRICS, "--samples", SAMPLES]
    command += ["--extractor", "clothes", "--threads", 1, "--json"]
    began = time.monotonic()
    run(["env", f"XDG_CACHE_HOME={CACHE}", *map(str, command)])
    return time.monotonic() - began


def peer(way):
    """Without the start of Python and its imports."""
    command = [*ONE_CORE, PEER_PYTHON, ROOT / "bench/fidelity_peer.py", RUN / "final", PICTURES, SAMPLES, way]
    return run([*map(str, command)], events=True)["score"]["seconds"]


class ScoredRun(Cluster):
    """A run whose snapshots are scored there, or nowhere: `off`."""

    limit_s = LIMIT_S

    def __init__(self, place, members, standbys):
        super().__init__("recovery", workers=members + standbys, expects=members)
        # A standby has a host of its own in earnest: here each worker beside one has a core.
        self.cores = sorted(os.sched_getaffinity(0)) if standbys else []
        scored = [f"evaluate.where={place}", f"evaluate.every={EVERY}", f"evaluate.samples={SAMPLES}"]
        self.sets = (*scored, f"evaluate.metrics={METRICS}", f"checkpoint.every={EVERY}", f"cluster.max_workers={members}")

    def environment(self, name):
        # Features of real pictures are made once, before anything is measured.
        return os.environ | {"XDG_CACHE_HOME": str(KEPT)}

    def start(self, name, command, stdout):
        core = self.cores.pop() if self.cores and name != "coordinator" else None
        alone = [] if core is None else ["taskset", "--cpu-list", core]
        return super().start(name, [*alone, *command], stdout)

    def has_begun_a_score(self):
        logs = [Path(self.folder.name) / f"{name}.log" for name in self.workers]
        return any("scoring a snapshot" in log.read_text() for log in logs)


def rates(place, rounds):
    """images/s, a median for each round of as many pairs of runs."""
    ways = {OURS: place, NOT_SCORED: "off"}
    figures = {row: [] for row in ways}
    keep_features()
    for index in range(rounds * PAIRS):
        for row in in_turn(ways, index):
            figures[row].append(round(rate(ways[row], *WORKERS[place]), 3))
            show(index, rounds * PAIRS, f"eval.{place}", row, figures[row][-1], "images/s")
    return figures


def keep_features():
    """Makes the features of the real pictures that every score reads, whose making is not measured. By a standby, which has a core."""
    with ScoredRun("standby", *WORKERS["standby"]) as scored:
        scored.wait("features of the real pictures", lambda: any(KEPT.glob("lsgan/features/*.safetensors")))


def rate(place, members, standbys):
    """images/s over the steps after the warm-up, in which several snapshots are written, and scored unless nobody does."""
    with ScoredRun(place, members, standbys) as scored:
        scored.wait(f"{STEPS} steps", lambda: scored.journal.steps_done() >= STEPS)
        rows = scored.journal.all("SELECT step, wall_ms FROM metrics WHERE step < ? ORDER BY step", STEPS)
        # Beside members that leave it no core a score may take longer than this run.
        if scored.has_begun_a_score() != (place != "off"):
            raise BenchError(f"with evaluate.where={place} scores are{' not' * (place != 'off')} made")
    return BATCH / measure.steady_step_ms(rows, WARM_UP) * 1e3
