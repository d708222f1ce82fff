"""Images/s of the whole system on one device, and of PyTorch doing the same work in the same minutes.

Ours is `lsgan up` with one worker, exact sums, metrics and journal; the rate is that of the later half of its steps, with
CUDA graphs and without.
What PyTorch's side is, bench/gpu_peer.py says. Rows for which there is no time are left out, the less telling first.
"""

import json
import tempfile
from pathlib import Path

from cluster import Journal
from measure import BenchError

from gpu_check import idle, machine, process, quickstart
from gpu_check.schedule import Failed

# (model, batch, precision, reduction, graphs) of the row that decides; it comes before all other parts.
HEADLINE = ("dcgan64", 64, "bf16", "exact")
HEADLINE_STEPS = 4000
MODELS = ["dcgan64", "lsgan112"]
BATCHES = [64, 256]
PRECISIONS = ["f32", "tf32", "bf16"]
# Images that a row of ours trains on: seconds on a GPU, without its start.
IMAGES = {"dcgan64": 24_000, "lsgan112": 8_000}
STEPS_MIN = 24
# PyTorch's rows are kept this much of the time: without them the figures say little.
PEER_SHARE = 0.5
# A row of ours is not begun with less.
ROW_NEEDS_S = 15


def headline(context):
    """The row that decides, with graphs and without, PyTorch's eager and compiled beside it."""
    return measured(context, headline_rows(context.cpu))


def take(context):
    """All other rows."""
    return measured(context, rows(context.cpu))


def measured(context, wanted):
    figures = {"images_per_s": {}, "data_wait_share": {}, "gpu_idle_share": {}}
    if context.peer and not machine.can_compare(context.peer, on_gpu=not context.cpu):
        context.peer = None
    peer_s = context.clock.left_s() * PEER_SHARE if context.peer else 0
    left_out = []
    for row in wanted:
        if context.clock.left_s() - peer_s < ROW_NEEDS_S:
            left_out.append(f"{name(row)} {column(row)}")
            continue
        try:
            with idle.Watched() as watched:
                rate, wait = ours(context, row)
        except (Failed, BenchError) as error:
            figures.setdefault("errors", {})[f"{name(row)} {column(row)}"] = str(error)
            context.say(f"{name(row)} {column(row)}: {error}")
            continue
        figures["images_per_s"].setdefault(name(row), {})[column(row)] = rate
        figures["data_wait_share"].setdefault(name(row), {})[column(row)] = wait
        figures["gpu_idle_share"].setdefault(name(row), {})[column(row)] = watched.share
        idles = "" if watched.share is None else f", the GPU idle for {watched.share:.0%}"
        context.say(f"{name(row)} {column(row)}: {rate} images/s, {wait:.0%} of it waiting for data{idles}")
    peers(context, wanted, figures, left_out)
    figures |= overheads(figures["images_per_s"])
    if left_out:
        context.say(f"left out for want of time: {', '.join(left_out)}")
        figures["left_out"] = ", ".join(left_out)
    if errors := figures.get("errors"):
        raise Failed("\n".join(f"{row}: {error}" for row, error in errors.items()), figures)
    return figures


def headline_rows(cpu):
    return rows(cpu)[:1] if cpu else [(*HEADLINE, graphs) for graphs in ("auto", "off")]


def rows(cpu):
    """(model, batch, precision, reduction, graphs), the most telling first."""
    if cpu:
        # Few CPUs are made for bf16, and none has TF32 or graphs.
        return [("dcgan64", 8, "f32", "exact", "off"), ("dcgan64", 8, "f32", "fast", "off")]
    exact = [(model, batch, precision, "exact") for batch in BATCHES for precision in PRECISIONS for model in MODELS]
    fast = [(model, 64, "tf32", "fast", "off") for model in MODELS]
    both = [(*row, graphs) for row in exact if row != HEADLINE for graphs in ("off", "auto")]
    return both[:10] + fast + both[10:]


def name(row):
    model, batch, precision, reduction, _ = row
    return f"{model} {precision} {batch}" + (" fast" if reduction == "fast" else "")


def column(row):
    return "lsgan" if row[4] == "off" else "lsgan graphs"


def ours(context, row):
    """Images/s, and the share of a step that waits for data."""
    model, batch, precision, reduction, graphs = row
    steps = 8 if context.cpu else steps_of(row)
    overrides = [f"batch.per_rank={batch}", "batch.virtual_ranks=1", f"precision={precision}", f"reduction={reduction}"]
    overrides += [f"compute.cuda_graphs={graphs}"]
    # A hash of the state stops a GPU that is measured.
    overrides += [f"report.every={1 if context.cpu else 4}", "report.state_hash_every=0"]
    if not context.cpu:
        overrides += ["compute.loader_threads=8"]
    run = run_of(context, f"{model}-f32", steps, overrides)
    with run as journal:
        metrics = journal.all("SELECT step, wall_ms, step_ms, data_wait_ms FROM metrics ORDER BY step")
    if graphs == "auto" and not any("replayed as CUDA graphs" in line for line in run.said):
        raise Failed(f"no graphs were used: {'; '.join(run.said) or 'nothing is said of them'}")
    return figures_of(metrics, batch)


def steps_of(row):
    model, batch, *_ = row
    return HEADLINE_STEPS if row[:4] == HEADLINE else max(STEPS_MIN, IMAGES[model] // batch)


def figures_of(metrics, batch):
    later = metrics[len(metrics) // 2 :]
    if len(later) < 2 or later[-1][1] <= later[0][1]:
        raise BenchError(f"the journal has {len(metrics)} rows of metrics, too few to tell a rate")
    steps, ms = later[-1][0] - later[0][0], later[-1][1] - later[0][1]
    waited = sum(row[3] for row in later) / sum(row[2] for row in later)
    return round(steps * batch / ms * 1e3, 1), round(waited, 3)


class run_of:
    """`lsgan up` of a file in bench/configs with one worker; its journal, after its end."""

    def __init__(self, context, config, steps, overrides):
        self.context = context
        self.file = context.root / "bench" / "configs" / f"{config}.yaml"
        device = "cpu" if context.cpu else "cuda"
        self.overrides = [f"steps={steps}", f"compute.device={device}", *overrides]

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="speed-", dir=self.context.scratch)
        try:
            run_dir = Path(self.folder.name) / "run"
            command = [self.context.binary("lsgan"), "up", "--config", self.file, "--workers", 1, "--run-dir", run_dir]
            command += [word for override in self.overrides for word in ("--set", override)]
            process.run(self.context, command, what="lsgan up")
            self.journal = Journal(run_dir / "journal.sqlite")
            self.said = quickstart.logged(run_dir, "CUDA graphs")
        except BaseException:
            self.folder.cleanup()
            raise
        return self.journal

    def __exit__(self, *_):
        self.journal.connection.close()
        self.folder.cleanup()


def peers(context, wanted, figures, left_out):
    """Adds PyTorch's rates to the rows, as far as there is time; first all rows eager, then compiled."""
    if not context.peer:
        context.say("PyTorch is left out: no Python here has it" + ("" if context.cpu else " with CUDA"))
        return
    ours_too = [row for row in wanted if row[3:] == ("exact", "off") and name(row) in figures["images_per_s"]]
    wanted = [(row, variant) for variant in ("eager", "compiled") for row in ours_too]
    command = [context.peer, context.root / "bench" / "gpu_peer.py", "--device", "cpu" if context.cpu else "cuda"]
    command += ["--seconds", max(1, int(context.clock.left_s()) - 5), "--cache", context.scratch / "inductor"]
    command += [f"{model}:{batch}:{precision}:{variant}" for (model, batch, precision, *_), variant in wanted]
    done = set()
    with process.Child(context, command) as child:
        for text in child.process.stdout:
            if not text.startswith("{"):
                continue
            line = json.loads(text)
            model, batch, precision, variant = line["row"].split(":")
            row = f"{model} {precision} {batch}"
            done.add(line["row"])
            if "error" in line:
                # PyTorch's failure is not ours.
                figures.setdefault("pytorch_errors", {})[f"{row} {variant}"] = line["error"]
                context.say(f"{row}: PyTorch {variant}: {line['error']}")
                continue
            figures["images_per_s"][row][f"pytorch {variant}"] = line["images_per_s"]
            context.say(f"{row}: PyTorch {variant}: {line['images_per_s']} images/s")
        if not done:
            figures["pytorch_errors"] = {"gpu_peer.py": child.complaints() or "it ended without a word"}
            context.say(child.complaints())
    left_out += [f"{name(row)} PyTorch {variant}" for row, variant in wanted
                 if f"{row[0]}:{row[1]}:{row[2]}:{variant}" not in done]


def overheads(rates):
    """What exact sums cost against plain ones, as a share of the step; our best against PyTorch's."""
    found = {}
    for row, each in rates.items():
        exact = rates.get(row.removesuffix(" fast"), {})
        if row.endswith(" fast") and "lsgan" in exact and "lsgan" in each:
            found[f"exact_overhead {row.removesuffix(' fast')}"] = round(1 - exact["lsgan"] / each["lsgan"], 3)
        ours = [rate for key, rate in each.items() if key.startswith("lsgan")]
        theirs = [rate for key, rate in each.items() if key.startswith("pytorch")]
        if ours and theirs:
            each["ours ÷ best"] = round(max(ours) / max(theirs), 2)
    return found


def snapshot(context):
    """How long training stands still for a snapshot of 101 MB."""
    overrides = ["report.every=1"]
    with run_of(context, "snapshot", 40, overrides) as journal:
        blocked = [ms for (ms,) in journal.all("SELECT blocked_ms FROM checkpoints ORDER BY step")]
        (len_bytes,) = journal.all("SELECT max(len_bytes) FROM checkpoints")[0]
    if not blocked:
        raise Failed("no snapshot was written")
    count, most = len(blocked), max(blocked)
    context.say(f"{count} snapshots of {len_bytes / 1e6:.0f} MB; training stood still {most:.1f} ms at most")
    return {"snapshots": count, "bytes": len_bytes, "blocked_ms_max": most, "blocked_ms_first": blocked[0]}
