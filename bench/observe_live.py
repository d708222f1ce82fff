"""What a page and a scraper cost the coordinator of a live run: CPU time of its process with them, less that without.

The coordinator has one process for all that it does. So the same run is looked at, and not, in turns; what it costs without is taken per
step, since whoever looks takes CPU time from the workers of this machine, and the run then does fewer steps.
"""

import json
import os
import re
import threading
import time
import urllib.request

from cluster import Cluster
from measure import BenchError
from report import OURS

WORKERS = 16
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
WARM_UP_STEPS = 200
# CPU time is counted in hundredths of a second: 0.02 of a core are 40 of them in so long.
TURN_S = 20
TURNS = 3
# As the page of a live run asks (crates/observe/page/src/overview.ts, AGAIN_MS), and twice as often as Prometheus does where nothing is said
# of it (scrape_interval in many examples: 15 s).
PAGE_EVERY_S, SCRAPE_EVERY_S = 1.0, 7.5


class Watched(Cluster):
    """Workers of a tiny model, and a coordinator that serves its page."""

    more = ("--http", "127.0.0.1:0")
    limit_s = 300

    def page(self):
        """Where its page is: the line after the one that says where it listens."""
        line = self.coordinator.stdout.readline()
        found = re.search(r"http://\S+", line)
        if not found:
            raise BenchError(f"the coordinator has no page:\n{line}{self.log('coordinator')}")
        return found.group().rstrip("/")

    def cpu_s(self):
        """What the coordinator has computed since it started, all its threads together."""
        with open(f"/proc/{self.coordinator.pid}/stat") as stat:
            user, system = stat.read().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / TICKS_PER_S

    def turn(self):
        """(seconds, steps, CPU seconds) of some time."""
        before = time.monotonic(), self.journal.steps_done(), self.cpu_s()
        time.sleep(TURN_S)
        after = time.monotonic(), self.journal.steps_done(), self.cpu_s()
        return [b - a for a, b in zip(before, after)]


class Readers:
    """A page that is open, and a scraper. On leaving they are gone."""

    def __init__(self, page):
        self.page, self.left = page, threading.Event()
        self.events, self.failed = 0, None
        works = [self.live, lambda: self.every(PAGE_EVERY_S, self.ask), lambda: self.every(SCRAPE_EVERY_S, self.scrape)]
        self.threads = [threading.Thread(target=self.guarded, args=(work,), daemon=True) for work in works]

    def __enter__(self):
        self.id = json.loads(self.get("/api/runs"))[0]["id"]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.left.set()
        for thread in self.threads:
            thread.join(timeout=30)

    def guarded(self, work):
        try:
            work()
        except Exception as error:
            # Told by whoever started the threads.
            self.failed = self.failed or error

    def get(self, path):
        with urllib.request.urlopen(self.page + path, timeout=30) as answer:
            return answer.read()

    def every(self, seconds, work):
        while True:
            work()
            if self.left.wait(seconds):
                return

    def live(self):
        """Reads the events as they come, twice a second."""
        with urllib.request.urlopen(self.page + "/api/live", timeout=30) as stream:
            while not self.left.is_set():
                self.events += stream.readline().startswith(b"data:")

    def ask(self):
        """What the view of a run asks for each time."""
        run = f"/api/runs/{self.id}"
        for path in ["/curves?names=loss_d,loss_g&pixels=400", "/events?limit=8", ""]:
            self.get(run + path)

    def scrape(self):
        if b"lsgan_steps_total" not in self.get("/metrics"):
            raise BenchError("the scraper has found no steps")


def share(turns):
    """Of a core: what the turns in which somebody looked cost beyond the steps that were done in them. `turns` has pairs of one
    without and one with readers, each (seconds, steps, CPU seconds)."""
    without, looked = zip(*turns)
    cpu_a_step = sum(cpu_s for _, _, cpu_s in without) / sum(steps for _, steps, _ in without)
    seconds, steps, cpu_s = (sum(column) for column in zip(*looked))
    return (cpu_s - steps * cpu_a_step) / seconds


def live():
    """One measurement: rows of observe.cpu_share."""
    with Watched("observe", workers=WORKERS, expects=WORKERS) as run:
        page = run.page()
        run.wait_for_steps(WARM_UP_STEPS)
        turns = []
        for _ in range(TURNS):
            without = run.turn()
            with Readers(page) as readers:
                # The first look reads what there is.
                time.sleep(1)
                looked = run.turn()
                if readers.failed or readers.events < TURN_S:
                    raise BenchError(f"the page was not followed: {readers.events} events, {readers.failed}")
            turns.append((without, looked))
    rate = sum(steps for turn in turns for _, steps, _ in turn) / sum(seconds for turn in turns for seconds, _, _ in turn)
    alone = sum(cpu_s for (_, _, cpu_s), _ in turns) / sum(seconds for (seconds, _, _), _ in turns)
    return {OURS: share(turns), "coordinator alone": alone, "steps/s": rate}
