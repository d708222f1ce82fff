"""The data part of the benchmark: how fast pictures become tensors, and what starts and resumes of 3 M records cost."""

import json
import shutil

import measure
from measure import PEER_PYTHON, RELEASE, ROOT, SCRATCH
from report import OURS

# About ten thousand pictures; a round of each row.
SECONDS = 5
DATA = SCRATCH / "data"
# Where a resume begins: half of the 3,033,042 records, in batches of 64, are read.
MIDDLE_STEP = 3_033_042 // 64 // 2


def data(rounds, wanted):
    """Each figure of the report, in rounds that alternate between the sides."""
    groups = {}
    program([PEER_PYTHON, ROOT / "bench" / "data_sets.py", DATA])
    for index in range(rounds):
        rows = [jpeg, packed, start, resume]
        for row in rows if index % 2 == 0 else rows[::-1]:
            for (group, name), value in row(wanted):
                groups.setdefault(group, {}).setdefault(name, []).append(round(value, 4))
                print(f"round {index + 1}/{rounds}  {group:<20} {name:<30} {value:>9.4g}", flush=True)
    return groups


def program(command):
    return measure.run([str(word) for word in command])


def answer(command):
    return json.loads(program(command).splitlines()[-1])


def peer(*arguments):
    return answer([PEER_PYTHON, ROOT / "bench" / "loader_peer.py", *arguments])


def ours(kind, place):
    """On one thread."""
    return answer([RELEASE / "examples" / "source_rate", kind, place, 64, SECONDS])["images_per_s_core"]


def jpeg(wanted):
    if wanted("data.jpeg256"):
        yield ("data.jpeg256", OURS), ours("lsun", DATA / "bedroom_train_lmdb")
        yield ("data.jpeg256", "torchvision LSUN"), peer("lsun", DATA, SECONDS)["lsun"]


def packed(wanted):
    if wanted("data.webdataset"):
        yield ("data.webdataset", OURS), ours("webdataset", DATA / "packed" / "train-{000000..000003}.tar")
        for decode, rate in peer("webdataset", DATA, SECONDS).items():
            yield ("data.webdataset", f"webdataset, {decode}"), rate


def started(step, index):
    """Opens the 3 M records and reads 50 batches of 64 from `step` on, eight batches ahead."""
    return answer([RELEASE / "examples" / "source_start", "lsun", DATA / "large_train_lmdb", step, index])


def start(wanted):
    """First without an index, then with the one that was made."""
    if not wanted("data.open_3m"):
        return
    index = SCRATCH / "data-index"
    shutil.rmtree(index, ignore_errors=True)
    first, second = started(0, index), started(0, index)
    yield ("data.index_3m", OURS), first["open_s"]
    yield ("data.index_3m", "peak MiB"), first["peak_rss_mib"]
    yield ("data.open_3m", OURS), second["first_batch_s"]
    peer("open", DATA)  # makes its cache, the first time
    yield ("data.open_3m", "torchvision LSUN, keys alone"), peer("open", DATA)["open_s"]
    # At its peak: while eight batches lie ready.
    yield ("data.rss", OURS), second["peak_rss_mib"]


def resume(wanted):
    if wanted("data.resume_3m"):
        found = started(MIDDLE_STEP, SCRATCH / "data-index")
        yield ("data.resume_3m", OURS), found["first_batch_s"]
        yield ("data.resume_3m", "records read twice"), found["read_twice"]
