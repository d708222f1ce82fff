"""A coordinator and workers that are killed, frozen and started again, and the journal that says what followed."""

import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

from measure import RELEASE, ROOT, SCRATCH, WORKERS, BenchError

# How often it is looked whether something has happened. No figure is made of it: those are of what the processes
# themselves wrote down, in milliseconds.
LOOK_S = 0.02
# Nothing that is waited for takes nearly as long.
LIMIT_S = 90
LISTENING = "listening on "


def wall_ms():
    """Now, on the clock that the processes write down."""
    return time.time() * 1e3


class Cluster:
    """One run of bench/configs/CONFIG.yaml in a directory of its own. On leaving, nothing of it is left."""

    # What another user of this changes: which binaries, where, overrides of the file, how long is waited.
    binaries, scratch, sets, limit_s = RELEASE, SCRATCH, (), LIMIT_S
    # More arguments of the coordinator.
    more = ()

    def __init__(self, config, workers=WORKERS, expects=WORKERS):
        """With so many workers; the first generation waits for those that are expected."""
        self.config = ROOT / "bench" / "configs" / f"{config}.yaml"
        self.at_first, self.expects = workers, expects
        self.workers = {}
        self.started = 0
        self.coordinator = None
        self.journal = None
        self.address = "127.0.0.1:0"

    def __enter__(self):
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.folder = tempfile.TemporaryDirectory(prefix="recovery-", dir=self.scratch)
        self.run_dir = Path(self.folder.name) / "run"
        try:
            self.start_coordinator()
            self.journal = Journal(self.run_dir / "journal.sqlite")
            for _ in range(self.at_first):
                self.start_worker()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in [*self.workers.values(), self.coordinator]:
            if process is not None:
                process.kill()
                process.wait()
        if self.journal is not None:
            self.journal.connection.close()
        self.folder.cleanup()

    def start_coordinator(self):
        """Starts it, where it was before if it was, and waits until it listens."""
        command = [self.binaries / "coordinator", "--config", self.config, "--run-dir", self.run_dir, "--quiet"]
        command += [word for override in self.sets for word in ("--set", override)]
        command += ["--expect-workers", self.expects, "--listen", self.address, *self.more]
        self.coordinator = self.start("coordinator", command, stdout=subprocess.PIPE)
        line = self.coordinator.stdout.readline()
        if not line.startswith(LISTENING):
            raise BenchError(f"the coordinator does not listen:\n{self.log('coordinator')}")
        self.address = line.removeprefix(LISTENING).strip().removeprefix("http://")

    def start_worker(self):
        """Starts one more; its name."""
        self.started += 1
        name = f"bench:{self.started}"
        command = [self.binaries / "worker", "--coordinator", f"http://{self.address}", "--name", name]
        command += ["--peer-listen", self.peer_address(), "--local-rank", self.started - 1]
        self.workers[name] = self.start(name, command, stdout=subprocess.DEVNULL)
        return name

    def peer_address(self):
        """Where the worker that is started next hears its peers."""
        return "127.0.0.1:0"

    def environment(self, name):
        """What a process finds in its environment."""
        return os.environ

    def start(self, name, command, stdout):
        with open(Path(self.folder.name) / f"{name}.log", "a") as log:
            return subprocess.Popen(
                [*map(str, command)], cwd=ROOT, env=self.environment(name), stdin=subprocess.DEVNULL, stdout=stdout,
                stderr=log, text=True,
            )

    def log(self, name):
        return "\n".join((Path(self.folder.name) / f"{name}.log").read_text().splitlines()[-15:])

    def kill_coordinator(self):
        """Kills it; when, in unix ms."""
        at = wall_ms()
        self.coordinator.kill()
        self.coordinator.wait()
        self.coordinator.stdout.close()
        return at

    def kill_worker(self, name):
        at = wall_ms()
        self.workers[name].kill()
        self.workers.pop(name).wait()
        return at

    def freeze_worker(self, name):
        at = wall_ms()
        self.workers[name].send_signal(signal.SIGSTOP)
        return at

    def thaw_worker(self, name):
        self.workers[name].send_signal(signal.SIGCONT)

    def member(self, rank):
        """The name of the worker with this rank in the newest generation."""
        return self.journal.members(self.journal.generations()[-1].number)[rank]

    def wait_for_steps(self, count, since_ms=0):
        """Waits until all that are expected have done so many steps in a generation that was formed since then; it."""

        def stepping():
            generation = self.journal.generations()[-1:]
            if not generation or generation[0].formed_ms < since_ms or generation[0].halted:
                return None
            if len(self.journal.members(generation[0].number)) < self.expects:
                return None
            done = self.journal.steps_done() - generation[0].from_reduction // 2
            return generation[0] if done >= count else None

        return self.wait(f"{count} steps of {self.expects} workers", stepping)

    def wait_for_end(self, since_ms):
        """Waits until a generation that was formed since then has ended a step."""

        def ended():
            formed = [g.formed_ms for g in self.journal.generations() if g.formed_ms >= since_ms]
            return formed and self.journal.newest_ms() >= formed[0]

        return self.wait("a step of the next generation", ended)

    def wait(self, what, happened, seconds=None):
        seconds = self.limit_s if seconds is None else seconds
        deadline = time.monotonic() + seconds
        while not (result := happened()):
            for name, process in [*self.workers.items(), ("coordinator", self.coordinator)]:
                if process.poll() is not None:
                    raise BenchError(f"{name} ended while {what} was awaited:\n{self.log(name)}")
            if time.monotonic() > deadline:
                raise BenchError(f"{what} was awaited for {seconds} s in vain:\n{self.log('coordinator')}")
            time.sleep(LOOK_S)
        return result


class Journal:
    """What a run has written down, read while it goes on. Times are unix ms."""

    def __init__(self, path):
        self.connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    def all(self, query, *values):
        return self.connection.execute(query, values).fetchall()

    def generations(self):
        query = "SELECT generation, from_reduction, formed_ms, halted_ms FROM generations ORDER BY generation"
        return [Generation(*row) for row in self.all(query)]

    def members(self, generation):
        """Names of the workers of a generation, by rank."""
        query = "SELECT name FROM members JOIN workers USING (incarnation) WHERE generation = ? ORDER BY rank"
        return [name for (name,) in self.all(query, generation)]

    def joined_ms(self, name):
        """When the worker of this name came for the first time."""
        return self.all("SELECT min(joined_ms) FROM workers WHERE name = ?", name)[0][0]

    def metrics(self, since_ms=0):
        """Rows (step, ms of its end, duration in ms) of the steps that ended since then."""
        return self.all("SELECT step, wall_ms, step_ms FROM metrics WHERE wall_ms >= ? ORDER BY step", since_ms)

    def final_hashes(self):
        """BLAKE3 of the final weights by the name of their file, once the run is complete."""
        facts = dict(self.all("SELECT key, value FROM meta WHERE key IN ('outcome', 'outcome_why', 'final_files')"))
        if facts.get("outcome") != "complete":
            why = facts.get("outcome_why") or "it has not ended"
            raise BenchError(f"the run is {facts.get('outcome', 'not complete')}: {why}")
        return {name: digest for name, _, digest in json.loads(facts["final_files"])}

    def steps_done(self):
        return self.all("SELECT coalesce(max(step) + 1, 0) FROM metrics")[0][0]

    def newest_ms(self):
        """When the newest step ended of which the journal knows."""
        newest = self.all("SELECT wall_ms FROM metrics ORDER BY step DESC LIMIT 1")
        return newest[0][0] if newest else 0


class Generation:
    def __init__(self, number, from_reduction, formed_ms, halted_ms):
        self.number, self.from_reduction, self.formed_ms = number, from_reduction, formed_ms
        self.halted = halted_ms is not None


class Torchrun:
    """bench/torchrun_peer.py under torchrun, two ranks that are killed. On leaving, nothing of it is left."""

    def __init__(self, python, per_rank, save_every):
        self.command = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", WORKERS]
        # More restarts than there are kills; it counts them and gives up after 0 otherwise.
        self.command += ["--max-restarts", 10_000, ROOT / "bench" / "torchrun_peer.py"]
        self.command += ["--per-rank", per_rank, "--save-every", save_every]

    def __enter__(self):
        SCRATCH.mkdir(parents=True, exist_ok=True)
        self.directory = tempfile.TemporaryDirectory(prefix="torchrun-", dir=SCRATCH)
        self.folder = Path(self.directory.name)
        # Ranks that share the rendezvous' store find the addresses of their dead predecessors in it, and wait for those
        # in vain.
        env = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        with open(self.folder / "complaints", "w") as complaints:
            self.agent = subprocess.Popen(
                [*map(str, self.command), "--folder", str(self.folder)],
                cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=complaints, stderr=complaints,
            )
        self.read, self.unread, self.log = [], b"", None
        return self

    def __exit__(self, *_):
        if self.log is not None:
            self.log.close()
        self.agent.terminate()
        try:
            self.agent.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.agent.kill()
            self.agent.wait()
        for rank in range(WORKERS):
            self.kill(rank)  # its ranks have sessions of their own and may have outlived it
        self.directory.cleanup()

    def steps(self):
        """Lines (restart, steps done, unix ms of the last one's end), oldest first; steps may be there twice."""
        if self.log is None:
            try:
                self.log = open(self.folder / "steps", "rb")
            except FileNotFoundError:
                return []
        *lines, self.unread = (self.unread + self.log.read()).split(b"\n")
        for restart, step, ms in map(bytes.split, lines):
            self.read.append((int(restart), int(step), float(ms)))
        return self.read

    def kill(self, rank):
        """Kills a rank, if it lives; when, in unix ms."""
        at = wall_ms()
        try:
            pid = int((self.folder / f"pid-{rank}").read_text())
            if str(self.folder) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            pass
        return at

    def wait_for_steps(self, count, after_restart=-1):
        """Waits until a life that began after that restart has done so many steps; all lines."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            steps = self.steps()
            newest = steps[-1][0] if steps else -1
            if newest > after_restart and steps[-count:][0][0] == newest and len(steps) >= count:
                return steps
            if self.agent.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join((self.folder / "complaints").read_text().splitlines()[-15:])
                raise BenchError(f"{count} steps under torchrun were awaited in vain:\n{tail}")
            time.sleep(LOOK_S)
