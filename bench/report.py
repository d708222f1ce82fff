"""The benchmark's report: from the rounds' figures to ratios, targets, a JSON file and a table. Nothing runs here.

`groups` maps a group (`train.dcgan64.f32`) to its rows (`lsgan`, `pytorch eager` ...), a row to one figure a round;
None stands for a round that the row was left out of.
"""

import datetime
import json
import math
import os
import platform
import statistics
from pathlib import Path

OURS = "lsgan"
EAGER = "pytorch eager"
TORCHRUN = "torchrun"
# The row of a run whose snapshots nobody scores.
NOT_SCORED = "without scores"

RATES = ("free", "10g", "1g", "200m")
# Rows of a group that are not images/s.
BESIDE = ("exposed share", "sums repeated", "sent bytes", "bytes a parameter")

# What must be reached; `at_least` or `at_most`.
TARGETS = {
    "train.dcgan64.f32.ratio": ("at_least", 1.25),
    "train.dcgan64.f32.ratio_best": ("at_least", 1.0),
    "train.dcgan32.f32.ratio": ("at_least", 1.5),
    "train.dcgan32.f32.ratio_best": ("at_least", 1.0),
    "train.dcgan64.bf16.ratio": ("at_least", 2.0),
    "train.dcgan64.bf16.ratio_autocast": ("at_least", 1.05),
    "train.dcgan64.overhead": ("at_most", 0.05),
    "start.first_step_s": ("at_most", 1.5),
    "collective.ring.ratio": ("at_least", 0.6),
    "recovery.kill.median_s": ("at_most", 1.0),
    # cluster.failure_timeout, 1.5 s by default on a quiet machine, and one more.
    "recovery.stop.median_s": ("at_most", 2.5),
    "recovery.coordinator.steps_lost": ("at_most", 0),
    "recovery.coordinator.pause_s": ("at_most", 0.05),
    "recovery.join.median_s": ("at_most", 1.0),
    "recovery.join.pause_steps": ("at_most", 1.0),
    "recovery.goodput": ("at_least", 0.9),
    "snapshot.block_s": ("at_most", 0.2),
    "control.sessions_10000.cores": ("at_most", 1.0),
    "control.sessions_10000.kib_per_session": ("at_most", 64),
    "evict.half.pause_s": ("at_most", 2.0),
    "evict.half.steps_lost": ("at_most", 0),
    "flood.deaf_s": ("at_most", 1.0),
    "failover.lead_s": ("at_most", 3.0),
    "failover.lost": ("at_most", 0),
    "observe.open_10m.s": ("at_most", 1.0),
    "observe.open_10m.kb": ("at_most", 500),
    "observe.slider_ms": ("at_most", 200),
    "observe.rss_mib": ("at_most", 200),
    "observe.cpu_share": ("at_most", 0.02),
    "observe.journal_gb": ("at_most", 1.0),
    "tls.step_share": ("at_most", 0.03),
    "tls.ring_ratio": ("at_least", 0.8),
    "data.jpeg256.ratio": ("at_least", 2.0),
    "data.webdataset.ratio": ("at_least", 3.0),
    "data.open_3m_s": ("at_most", 1.0),
    "data.rss_mib": ("at_most", 200),
    "data.resume_3m_s": ("at_most", 1.0),
    "data.resume_3m.read_twice": ("at_most", 0),
    "data.index_3m_s": ("at_most", 15),
    "data.index_3m.peak_mib": ("at_most", 64),
    "train.mlp.ratio_best": ("at_least", 2.0),
    "scale.workers8.cpu_ratio": ("at_most", 1.1),
    "golden.quickstart.difference": ("at_most", 1.0),
    "golden.ring.difference": ("at_most", 1.0),
    "sum.bytes_per_parameter": ("at_most", 4.1),
    "sum.wide_steps_share": ("at_most", 0.001),
    "network.free.dcgan64.f32.ratio_best": ("at_least", 1.04),
    "network.10g.dcgan64.f32.ratio_best": ("at_least", 1.0),
    "network.1g.dcgan64.f32.ratio_best": ("at_least", 1.0),
    "network.200m.dcgan64.f32.ratio_best": ("at_least", 1.0),
    "network.1g.dcgan64.bf16.ratio_autocast": ("at_least", 1.0),
    "network.1g.dcgan32.f32.ratio_best": ("at_least", 1.0),
    "network.200m.dcgan32.f32.ratio_best": ("at_least", 1.0),
    "network.1g.dcgan64b16.f32.ratio_best": ("at_least", 1.0),
    "network.200m.dcgan64b16.f32.ratio_best": ("at_least", 1.0),
    "network.1g.exposed_share": ("at_most", 0.08),
    "eval.score_s.ratio": ("at_least", 1.5),
    "eval.standby.share": ("at_most", 0.02),
    "eval.writer.share": ("at_most", 0.05),
}

UNITS = {
    "train.dcgan64.f32": "images/s",
    "train.dcgan64.bf16": "images/s",
    "train.dcgan32.f32": "images/s",
    "train.mlp": "steps/s",
    "scale.workers8": "ms of CPU a step",
    "sum.quickstart": "share of steps",
    "golden.quickstart": "distance to the data",
    "golden.ring": "distance to the data",
    "train.dcgan64.step": "ms a step",
    "start.first_step": "s",
    "collective.ring": "MB/s",
    "eval.score": "s",
    "eval.standby": "images/s",
    "eval.writer": "images/s",
    "recovery.kill": "s",
    "recovery.kill.redone": "steps",
    "recovery.stop": "s",
    "recovery.coordinator.lost": "steps",
    "recovery.coordinator.pause": "s",
    "recovery.join": "s",
    "recovery.join.pause": "steps",
    "recovery.goodput": "share",
    "snapshot.block": "s",
    "snapshot.step": "s",
    "control.sessions": "of 10,000 sessions",
    "evict.half": "s",
    "flood": "s",
    "failover": "s",
    "tls.step": "ms a step",
    "tls.ring": "MB/s",
    "cluster.workers64": "s",
    "observe.open_10m": "s",
    "observe.tensorboard": "s",
    "observe.cpu_share": "of a core",
    "observe.journal": "GB",
    "data.jpeg256": "images/s a core",
    "data.webdataset": "images/s a core",
    "data.index_3m": "s",
    "data.open_3m": "s",
    "data.rss": "MiB",
    "data.resume_3m": "s",
} | {
    f"network.{rate}.{case}": "images/s"
    for rate in RATES
    for case in ("dcgan64.f32", "dcgan64.bf16", "dcgan64b16.f32", "dcgan32.f32")
}

# Figures that are the median of a group's row and, where there is a second name, its 90th percentile.
MEDIANS = {
    ("recovery.kill", OURS): ("recovery.kill.median_s", "recovery.kill.p90_s"),
    ("recovery.kill", TORCHRUN): ("recovery.kill.torchrun_median_s", "recovery.kill.torchrun_p90_s"),
    ("recovery.kill.redone", OURS): ("recovery.kill.steps_redone", None),
    ("recovery.kill.redone", TORCHRUN): ("recovery.kill.torchrun_steps_redone", None),
    ("recovery.stop", OURS): ("recovery.stop.median_s", "recovery.stop.p90_s"),
    ("recovery.coordinator.pause", OURS): ("recovery.coordinator.pause_s", "recovery.coordinator.pause_p90_s"),
    ("recovery.join", OURS): ("recovery.join.median_s", "recovery.join.p90_s"),
    ("recovery.join.pause", OURS): ("recovery.join.pause_steps", "recovery.join.pause_p90_steps"),
    ("recovery.goodput", OURS): ("recovery.goodput", None),
    ("recovery.goodput", TORCHRUN): ("recovery.torchrun_goodput", None),
    ("snapshot.block", OURS): ("snapshot.block_s", "snapshot.block_p90_s"),
    ("snapshot.step", OURS): ("snapshot.step_s", "snapshot.step_p90_s"),
    ("control.sessions", "cores"): ("control.sessions_10000.cores", "control.sessions_10000.cores_p90"),
    ("control.sessions", "KiB a session"): ("control.sessions_10000.kib_per_session", None),
    ("control.sessions", "heartbeats/s"): ("control.sessions_10000.heartbeats_per_s", None),
    ("evict.half", OURS): ("evict.half.pause_s", None),
    ("flood", OURS): ("flood.deaf_s", None),
    ("failover", OURS): ("failover.lead_s", None),
    ("cluster.workers64", OURS): ("cluster.workers64.reform_s", None),
    ("cluster.workers64", "form"): ("cluster.workers64.form_s", None),
    ("cluster.workers64", "start"): ("cluster.workers64.start_s", None),
    ("cluster.workers64", "MiB a worker"): ("cluster.workers64.mib_per_worker", None),
    ("observe.open_10m", OURS): ("observe.open_10m.s", None),
    ("observe.open_10m", "cold"): ("observe.open_10m.cold_s", None),
    ("observe.open_10m", "started"): ("observe.open_10m.started_s", None),
    ("observe.open_10m", "kB"): ("observe.open_10m.kb", None),
    ("observe.open_10m", "slider ms"): ("observe.slider_ms", None),
    ("observe.open_10m", "rss MiB"): ("observe.rss_mib", None),
    ("observe.tensorboard", "first steps"): ("observe.open_10m.tensorboard_first_s", None),
    ("observe.tensorboard", "newest step"): ("observe.open_10m.tensorboard_s", None),
    ("observe.tensorboard", "peak MiB"): ("observe.open_10m.tensorboard_mib", None),
    ("observe.cpu_share", OURS): ("observe.cpu_share", None),
    ("observe.cpu_share", "steps/s"): ("observe.cpu_share.steps_per_s", None),
    ("observe.journal", OURS): ("observe.journal_gb", None),
    ("data.index_3m", OURS): ("data.index_3m_s", None),
    ("data.index_3m", "peak MiB"): ("data.index_3m.peak_mib", None),
    ("data.open_3m", OURS): ("data.open_3m_s", "data.open_3m_p90_s"),
    ("data.open_3m", "torchvision LSUN, keys alone"): ("data.open_3m.torchvision_s", None),
    ("data.rss", OURS): ("data.rss_mib", None),
    ("data.resume_3m", OURS): ("data.resume_3m_s", "data.resume_3m_p90_s"),
    ("data.resume_3m", "records read twice"): ("data.resume_3m.read_twice", None),
}


def median(figures):
    return statistics.median(figure for figure in figures if figure is not None)


def p90(figures):
    """The smallest of them that nine tenths do not exceed."""
    in_order = sorted(figure for figure in figures if figure is not None)
    return in_order[math.ceil(0.9 * len(in_order)) - 1]


def paired(rows, over, under):
    """Median over the rounds of one row ÷ another: what disturbs a round disturbs both."""
    pairs = [(a, b) for a, b in zip(rows[over], rows[under]) if a is not None and b is not None]
    return statistics.median(a / b for a, b in pairs)


def best_of(rows):
    """The fastest of the others' rows. Those that later rounds left out were slower. One that rounds gradients to fp16 does
    other work."""
    others = (name for name in rows if not name.startswith(OURS) and name not in BESIDE and "hook" not in name)
    return max(others, key=lambda name: median(rows[name]))


def difference(one, other):
    """How far two means are apart, in standard deviations of a seed."""
    spread = statistics.mean([statistics.stdev(one), statistics.stdev(other)])
    return abs(statistics.mean(one) - statistics.mean(other)) / spread


def figures(groups):
    """The report's figures by key, from whatever groups there are."""
    found = {}
    for model in ["train.dcgan64.f32", "train.dcgan32.f32"]:
        if rows := groups.get(model):
            found[f"{model}.ratio"] = paired(rows, OURS, EAGER)
            found[f"{model}.ratio_best"] = paired(rows, OURS, best_of(rows))
    if (rows := groups.get("train.dcgan64.bf16")) and (f32 := groups.get("train.dcgan64.f32")):
        against = {OURS: rows[OURS], EAGER: f32[EAGER]}
        found["train.dcgan64.bf16.ratio"] = paired(against, OURS, EAGER)
        found["train.dcgan64.bf16.ratio_autocast"] = paired(rows, OURS, best_of(rows))
    if rows := groups.get("train.dcgan64.step"):
        found["train.dcgan64.overhead"] = 1 - paired(rows, "libtorch alone", OURS)
    if rows := groups.get("start.first_step"):
        found["start.first_step_s"] = median(rows[OURS])
        found["start.pytorch.first_step_s"] = median(rows[EAGER])
    if rows := groups.get("collective.ring"):
        found["collective.ring.ratio"] = paired(rows, OURS, "raw sockets")
    for (group, row), (at_median, at_p90) in MEDIANS.items():
        if each := [figure for figure in groups.get(group, {}).get(row, []) if figure is not None]:
            found[at_median] = median(each)
            if at_p90:
                found[at_p90] = p90(each)
    if rows := groups.get("control.sessions"):
        found["control.sessions_10000.heartbeats_per_core_s"] = paired(rows, "heartbeats/s", "cores")
    for group in ["data.jpeg256", "data.webdataset"]:
        if rows := groups.get(group):
            found[f"{group}.ratio"] = paired(rows, OURS, best_of(rows))
    for group, rows in groups.items():
        if group.startswith("network."):
            kind = "ratio_autocast" if group.endswith("bf16") else "ratio_best"
            found[f"{group}.{kind}"] = paired(rows, OURS, best_of(rows))
    if rows := groups.get("network.1g.dcgan64.f32"):
        found["network.1g.exposed_share"] = median(rows["exposed share"])
        found["network.1g.sent_bytes"] = median(rows["sent bytes"])
    if each := groups.get("network.1g.dcgan64b16.f32", {}).get("bytes a parameter"):
        found["sum.bytes_per_parameter"] = median(each)
    if rows := groups.get("sum.quickstart"):
        found["sum.wide_steps_share"] = median(rows[OURS])
    for group in ["golden.quickstart", "golden.ring"]:
        if rows := groups.get(group):
            found[f"{group}.difference"] = difference(rows["exact"], rows["exact64"])
    if rows := groups.get("train.mlp"):
        found["train.mlp.ratio_best"] = paired(rows, OURS, best_of(rows))
    if rows := groups.get("scale.workers8"):
        found["scale.workers8.cpu_ratio"] = paired(rows, "8 workers", "1 workers")
    if rows := groups.get("eval.score"):
        found["eval.score_s"] = median(rows[OURS])
        # Of times: how many of ours go into one of the faster of theirs.
        theirs = min((name for name in rows if name != OURS), key=lambda name: median(rows[name]))
        found["eval.score_s.ratio"] = paired(rows, theirs, OURS)
    for group in ["eval.standby", "eval.writer"]:
        if rows := groups.get(group):
            found[f"{group}.share"] = 1 - paired(rows, OURS, NOT_SCORED)
    if rows := groups.get("recovery.coordinator.lost"):
        found["recovery.coordinator.steps_lost"] = sum(rows[OURS])  # of all rounds: none may be
    if each := groups.get("evict.half", {}).get("steps lost"):
        found["evict.half.steps_lost"] = sum(each)  # of all rounds: none may be
    if each := groups.get("failover", {}).get("lost"):
        found["failover.lost"] = sum(each)
    if rows := groups.get("tls.step"):
        found["tls.step_share"] = paired(rows, OURS, "without TLS") - 1
    if rows := groups.get("tls.ring"):
        found["tls.ring_ratio"] = paired(rows, OURS, "without TLS")
    return {key: round(value, 4) for key, value in found.items()}


def is_met(key, value):
    kind, wanted = TARGETS[key]
    return value >= wanted if kind == "at_least" else value <= wanted


def merge(old, groups, machine):
    """The new report: figures at the top, by key; groups that were measured now replace those of `old`."""
    merged = dict(old.get("rounds", {})) | groups
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    found = figures(merged)
    targets = {
        key: {kind: wanted, "met": is_met(key, found[key])} for key, (kind, wanted) in TARGETS.items() if key in found
    }
    measured = dict(old.get("measured", {})) | {group: {"at": now, "machine": machine} for group in groups}
    return found | {"targets": targets, "rounds": merged, "units": UNITS, "measured": measured}


def load(path):
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        return {}


def save(path, report):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(report, indent=2) + "\n")
    path.with_suffix(".new").replace(path)


def machine(versions):
    """What a figure depends on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    facts = dict(line.split(":", 1) for line in cpuinfo.split("\n\n")[0].splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    extensions = facts.get("flags", facts.get("Features", "")).split()
    return {
        "cpu": facts.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "extensions": sorted(e for e in extensions if e.startswith(("avx", "amx", "sve", "bf16", "asimd"))),
        "load_before": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
    } | versions


def table(report):
    """The report for people."""
    lines = []
    for group, rows in report["rounds"].items():
        lines.append(f"{group} ({UNITS[group]})")
        for name, rounds in rows.items():
            each = " ".join("-" if figure is None else f"{figure:.4g}" for figure in rounds)
            lines.append(f"  {name:<34} {median(rounds):>9.4g}   of {each}")
    lines.append("")
    lines.append(f"{'figure':<36} {'value':>9}   {'target':<8} met")
    for key in sorted(key for key in report if isinstance(report[key], (int, float))):
        target = report["targets"].get(key)
        if target is None:
            lines.append(f"{key:<36} {report[key]:>9.3f}")
            continue
        kind, wanted = TARGETS[key]
        sign = "≥" if kind == "at_least" else "≤"
        lines.append(f"{key:<36} {report[key]:>9.3f}   {sign} {wanted:<6g} {'yes' if target['met'] else 'NO'}")
    return "\n".join(lines)
