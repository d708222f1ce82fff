"""What it costs to look at a run: `lsgan ui` on a journal of 10 million steps that is made here, with 2,000 grids; a live run's page."""

import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from measure import RELEASE, ROOT, SCRATCH, BenchError, run
from observe_live import live
from observe_tensorboard import tensorboard
from report import OURS

STEPS, GRIDS, SPIKE_AT = 10_000_000, 2_000, 7_777_777
FOLDER = SCRATCH / "observe"
RUN = FOLDER / "run"
# What the page asks for when the curves of a run are opened on a screen with charts 600 pixels wide.
PIXELS = 600
SLIDES = 100
# Ten million rows are written once, in minutes.
FILL_LIMIT_S = 3600


def observe(rounds, wanted):
    # TensorBoard takes minutes, and the file has one size: these are measured once.
    measurements = [
        ("observe.journal", 1, lambda: {OURS: journal_gb()}),
        ("observe.open_10m", rounds, open_once),
        ("observe.tensorboard", 1, lambda: tensorboard(RUN, STEPS - 1)),
        ("observe.cpu_share", rounds, live),
    ]
    groups = {}
    try:
        for group, count, take in measurements:
            if not wanted(group):
                continue
            if take is not live:
                prepare()
            for index in range(count):
                figures = take()
                for key, figure in figures.items():
                    groups.setdefault(group, {}).setdefault(key, []).append(round(figure, 4))
                shown = ", ".join(f"{key} {figure:.4g}" for key, figure in figures.items())
                print(f"round {index + 1}/{count}  {group:<20} {shown}", flush=True)
    except BenchError as error:
        raise BenchError(str(error), groups) from error
    return groups


def journal_gb():
    """What the journal takes of the disk, with what was not moved into its file yet."""
    return sum(file.stat().st_size for file in RUN.glob("journal.sqlite*")) / 1e9


def prepare():
    """A short real run, whose journal is then filled as if it had gone on."""
    journal = RUN / "journal.sqlite"
    # Old rows are thinned: an older folder has all of them.
    made = FOLDER / "made-thinned"
    if made.exists():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    config = ROOT / "tests/small.yaml"
    images = ROOT / "datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
    sets = ["steps=20", "samples.every=20", "samples.grid=8x8", f"data.source.idx.images={images}"]
    # Without it the snapshots would go to a folder of this checkout, where another run's may be.
    sets.append(f"checkpoint.to={RUN}")
    command = [RELEASE / "lsgan", "up", "--config", config, "--run-dir", RUN]
    run([*map(str, command), *(part for each in sets for part in ("--set", each))])
    fill(journal)
    grid = next((RUN / "samples").glob("*.png"))
    for number in range(1, GRIDS + 1):
        link = RUN / "samples" / f"step-{number * STEPS // GRIDS:010}.png"
        if not link.exists():
            link.hardlink_to(grid)
    made.touch()


def fill(journal):
    """Rows for all steps, with one spike among them, and those of shards, by the coordinator's writer, which thins them; the grids' rows."""
    run([str(RELEASE / "examples" / "long_run"), str(RUN), str(STEPS), str(SPIKE_AT)], limit_s=FILL_LIMIT_S)
    db = sqlite3.connect(journal)
    (wall_ms,) = db.execute("select min(wall_ms) from metrics").fetchone()
    with db:
        for number in range(1, GRIDS + 1):
            step = number * STEPS // GRIDS
            file = f"samples/step-{step:010}.png"
            db.execute("insert or replace into samples values (?, ?, ?)", [step, file, wall_ms + step * 20])
    db.execute("pragma wal_checkpoint(truncate)")
    db.close()


def open_once():
    """The run opened three times: by a server that never saw it, by one that has just started and finds what the first one kept in the
    user's cache, and by that one again."""
    with tempfile.TemporaryDirectory(prefix="cache-", dir=FOLDER) as cache:
        with Server(cache) as first:
            cold_s, _ = opened(first.url)
            first_mib = first.peak_mib()
        with Server(cache) as server:
            started_s, _ = opened(server.url)
            warm_s, size = opened(server.url)
            slider_ms = slide(server.url)
            rss_mib = max(first_mib, server.peak_mib())
    return {"cold": cold_s, "started": started_s, OURS: warm_s, "kB": size / 1000, "slider ms": slider_ms, "rss MiB": rss_mib}


class Server:
    """`lsgan ui` on the run, with a cache of its own. On leaving it is gone."""

    def __init__(self, cache):
        command = [str(RELEASE / "lsgan"), "ui", str(RUN), "--listen", "127.0.0.1:0"]
        env = os.environ | {"XDG_CACHE_HOME": cache}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=env)

    def __enter__(self):
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if not found:
            self.__exit__()
            raise BenchError(f"`lsgan ui` says no address: {line!r}")
        self.url = found.group()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def peak_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


def get(url, path):
    with urllib.request.urlopen(url.rstrip("/") + path) as answer:
        return answer.read()


def opened(url):
    """Seconds and bytes of all that the page asks for until the curves of the run are there."""
    began = time.monotonic()
    page = [get(url, path) for path in ["/", "/page.js", "/page.css", "/api/scalars"]]
    runs = get(url, "/api/runs")
    curves = get(url, f"/api/runs/{json.loads(runs)[0]['id']}/curves?pixels={PIXELS}")
    took = time.monotonic() - began
    loss = json.loads(curves)["scalars"]["loss_d"]
    if max(loss["max"]) != 1000:
        raise BenchError("the spike is lost")
    return took, sum(map(len, [*page, runs, curves]))


def slide(url):
    """Milliseconds until a grid is there, the 90th percentile over random steps."""
    drawn = random.Random(1)
    id = json.loads(get(url, "/api/runs"))[0]["id"]
    samples = json.loads(get(url, f"/api/runs/{id}/samples"))
    times = []
    for sample in drawn.sample(samples, SLIDES):
        began = time.monotonic()
        get(url, f"/api/runs/{id}/samples/{sample['step']}")
        times.append((time.monotonic() - began) * 1000)
    return statistics.quantiles(times, n=10)[-1]
