"""What it costs to look at a run of 10 million steps: `lsgan ui` on a journal that is made here, with 2,000 grids."""

import json
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path

from measure import RELEASE, ROOT, SCRATCH, run
from report import OURS

STEPS, GRIDS, SPIKE_AT = 10_000_000, 2_000, 7_777_777
FOLDER = SCRATCH / "observe"
RUN = FOLDER / "run"
# What the page asks for when the curves of a run are opened on a screen with charts 600 pixels wide.
PIXELS = 600
SLIDES = 100


def observe(rounds, wanted):
    if not wanted("observe"):
        return {}
    prepare()
    rows = {key: [] for key in ["cold", OURS, "kB", "slider ms", "rss MiB"]}
    for index in range(rounds):
        figures = open_once()
        for key, figure in figures.items():
            rows[key].append(round(figure, 3))
        shown = ", ".join(f"{key} {figure:.4g}" for key, figure in figures.items())
        print(f"round {index + 1}/{rounds}  observe.open_10m     {OURS:<10} {shown}", flush=True)
    return {"observe.open_10m": rows}


def prepare():
    """A short real run, whose journal is then filled as if it had gone on."""
    journal = RUN / "journal.sqlite"
    if (FOLDER / "made").exists():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    config = ROOT / "tests/small.yaml"
    images = ROOT / "datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
    sets = ["steps=20", "samples.every=20", "samples.grid=8x8", f"data.source.idx.images={images}"]
    command = [RELEASE / "lsgan", "up", "--config", config, "--run-dir", RUN]
    run([*map(str, command), *(part for each in sets for part in ("--set", each))])
    fill(journal)
    grid = next((RUN / "samples").glob("*.png"))
    for number in range(1, GRIDS + 1):
        link = RUN / "samples" / f"step-{number * STEPS // GRIDS:010}.png"
        if not link.exists():
            link.hardlink_to(grid)
    (FOLDER / "made").touch()


def fill(journal):
    """Rows for all steps, with one spike among them, and the grids' rows."""
    db = sqlite3.connect(journal)
    db.execute("pragma synchronous = off")
    names = [row[0] for row in db.execute("select name from pragma_table_info('metrics')")][2:]
    noise = "(abs(random()) % 100000) / 100000.0"
    values = ", ".join("step * 1e-7 + " + noise for _ in names)
    newest, wall_ms = db.execute("select max(step), max(wall_ms) from metrics").fetchone()
    with db:
        db.execute(
            f"""with recursive steps(step) as (select {newest + 1} union all select step + 1 from steps where step < {STEPS - 1})
                insert into metrics (step, wall_ms, {", ".join(names)})
                select step, {wall_ms} + step * 20, {values} from steps"""
        )
        db.execute("update metrics set loss_d = 1000 where step = ?", [SPIKE_AT])
        for number in range(1, GRIDS + 1):
            step = number * STEPS // GRIDS
            file = f"samples/step-{step:010}.png"
            db.execute("insert or replace into samples values (?, ?, ?)", [step, file, wall_ms + step * 20])
    db.execute("pragma wal_checkpoint(truncate)")
    db.close()


def open_once():
    """A server that has just started, opened twice: before it has read the run, and after."""
    command = [str(RELEASE / "lsgan"), "ui", str(RUN), "--listen", "127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://\S+", server.stdout.readline()).group()
        cold_s, _ = opened(url)
        warm_s, size = opened(url)
        slider_ms = slide(url)
        status = Path(f"/proc/{server.pid}/status").read_text()
        rss_mib = int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024
    finally:
        server.kill()
        server.wait()
    return {"cold": cold_s, OURS: warm_s, "kB": size / 1000, "slider ms": slider_ms, "rss MiB": rss_mib}


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
        raise RuntimeError("the spike is lost")
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
