"""What a score costs, ours and torch-fidelity's: the same generator, the same pictures in files, the same small network that
makes features, FID, KID and precision and recall. One core each."""

import shutil
import time

from measure import PEER_PYTHON, RELEASE, ROOT, SCRATCH, run
from report import OURS

PEER = "torch-fidelity"
METRICS = "fid,kid,precision,recall"
# Both sides take so many samples, and all 10,000 pictures.
SAMPLES = 5000
FOLDER = SCRATCH / "eval"
PICTURES, RUN = FOLDER / "fashion", FOLDER / "run"
ONE_CORE = ["taskset", "--cpu-list", "0"]


def evaluate(rounds, wanted):
    if not wanted("eval.score"):
        return {}
    prepare()
    rows = {OURS: ours, PEER: peer}
    groups = {"eval.score": {name: [] for name in rows}}
    for index in range(rounds):
        order = list(rows) if index % 2 == 0 else list(reversed(rows))
        for name in order:
            figure = rows[name]()
            groups["eval.score"][name].append(round(figure, 3))
            print(f"round {index + 1}/{rounds}  eval.score           {name:<20} {figure:>9.4g} s", flush=True)
    return groups


def prepare():
    """The quickstart's pictures as files, and a short run on them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    images = ROOT / "datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
    run([*map(str, [RELEASE / "lsgan", "dataset", "export", f"idx:{images}", "--out", PICTURES])])
    if not (RUN / "final").exists():
        shutil.rmtree(RUN, ignore_errors=True)
        config = ROOT / "bench/configs/eval.yaml"
        run([*map(str, [RELEASE / "lsgan", "up", "--workers", 2, "--config", config, "--run-dir", RUN])])


def ours():
    """From the command to its end, with nothing kept from before."""
    cache = FOLDER / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    command = [*ONE_CORE, RELEASE / "lsgan", "eval", "--run", RUN, "--metrics", METRICS, "--samples", SAMPLES]
    command += ["--extractor", "clothes", "--threads", 1, "--json"]
    began = time.monotonic()
    run(["env", f"XDG_CACHE_HOME={cache}", *map(str, command)])
    return time.monotonic() - began


def peer():
    """Without the start of Python and its imports."""
    command = [*ONE_CORE, PEER_PYTHON, ROOT / "bench/fidelity_peer.py", RUN / "final", PICTURES, SAMPLES]
    return run([*map(str, command)], events=True)["score"]["seconds"]
