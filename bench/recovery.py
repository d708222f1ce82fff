"""What faults cost: each function disturbs a run, or torchrun's, so many times and reads what followed.

Times are taken from what the processes wrote down while they ran, in unix ms of the one clock of this machine: the end
of every step and the birth of every generation from our journal, the end of every step from torchrun's ranks.
"""

import json
import os
import statistics
import subprocess
import time
from random import Random

import measure
from cluster import Cluster, Torchrun, wall_ms
from measure import PEER_PYTHON, RELEASE, ROOT, WORKERS, BenchError
from report import OURS, TORCHRUN
from timeline import (
    USUAL, end_after, longest_pause_s, missing, pause, rates, redone, restarted, step_ends, steps_within,
)

# The quickstart's global batch of 64; torchrun has a rank for each worker.
PER_RANK = 64 // WORKERS
# Both sides save so often, torchrun's more often than the quickstart (250): what it does again is less then.
SAVE_EVERY = 100
# A side is disturbed so often in a row before it is the other's turn, or a fresh run's.
BLOCK = 5
# Goodput: this long, with a kill in the middle of each interval.
KILLS = 6
KILL_EVERY_S = 20

SESSIONS = 10_000
MEMBERS = 32
# Of the heartbeats that are due, so many must have been sent for the coordinator's figures to count.
ON_TIME = 0.95
STATE_BYTES = 100_000_000


def recovery(rounds, wanted):
    """All groups that are wanted for the report; the sides take turns. What fails does not cost the others."""
    groups, errors = {}, []
    kills_of_both = [("recovery.kill", kill), ("recovery.kill", torchrun_kill)]
    in_blocks = [*kills_of_both, ("recovery.stop", freeze), ("recovery.coordinator", kill_coordinator)]
    in_blocks = [take for group, take in in_blocks if wanted(group) or take is kill and wanted("recovery.join")]
    goodputs = [goodput, torchrun_goodput] if wanted("recovery.goodput") else []

    def measured(what, take, *arguments):
        try:
            collect(groups, take(*arguments), what)
        except BenchError as error:
            errors.append(f"{take.__name__}: {error}")
            print(f"{what:<24} {errors[-1]}", flush=True)

    random = Random(1)
    for begin in range(0, rounds, BLOCK):
        count = min(BLOCK, rounds - begin)
        for take in in_blocks:
            measured(f"rounds {begin + 1} to {begin + count} of {rounds}", take, count, random)
    # A round of this has KILLS kills and takes four times their time: one of it for twenty of the others.
    kills = min(KILLS, max(2, rounds))
    for index in range(max(1, rounds // 20)):
        for take in goodputs[:: -1 if index % 2 else 1]:
            measured(f"{kills} kills", take, kills)
    if wanted("snapshot.block"):
        measured(f"{rounds} snapshots", snapshots, rounds)
    if wanted("control.sessions"):
        measured(f"{SESSIONS} sessions", sessions, rounds)
    if errors:
        raise BenchError("\n".join(errors), groups)
    return groups


def collect(groups, found, what):
    """Adds figures by (group, row) to groups, and says them."""
    for (group, row), figures in found.items():
        groups.setdefault(group, {}).setdefault(row, []).extend(f if f is None else round(f, 4) for f in figures)
        each = " ".join("-" if figure is None else f"{figure:.4g}" for figure in figures)
        print(f"{what:<24} {group:<28} {row:<14} {each}", flush=True)


def kill(rounds, random):
    """SIGKILL of one of two workers, of either rank in turn; a new worker is started at once, as `lsgan up` does.

    recovery.kill: from the signal to the end of the first step of a generation that was formed after it.
    recovery.kill.redone: steps that had ended before and were done again.
    recovery.join: from when the new worker, its process ready, said Hello to the end of the first step in which it
    took part. recovery.join.pause: what the other worker lost by that, in the steps it was doing; see `pause`.
    """
    found = {("recovery.kill", OURS): [], ("recovery.kill.redone", OURS): []}
    found |= {("recovery.join", OURS): [], ("recovery.join.pause", OURS): []}
    with Cluster("recovery") as cluster:
        formed = cluster.wait_for_steps(random.randint(50, 100))
        for index in range(rounds):
            killed = cluster.kill_worker(cluster.member(index % WORKERS))
            name = cluster.start_worker()
            joined = cluster.wait_for_steps(random.randint(50, 100), since_ms=killed)
            journal = cluster.journal
            if name not in journal.members(joined.number):
                raise BenchError(f"{name} was started and is not in generation {joined.number}")
            ends = step_ends(journal.metrics(since_ms=formed.formed_ms))
            after = [g for g in journal.generations() if g.formed_ms >= killed]
            alone = after[0]
            found["recovery.kill", OURS].append((end_after(ends, alone.formed_ms) - killed) / 1e3)
            found["recovery.kill.redone", OURS].append(redone(ends, alone.formed_ms, alone.from_reduction))
            first = next(g for g in after if name in journal.members(g.number))
            waited = end_after(ends, first.formed_ms) - journal.joined_ms(name)
            found["recovery.join", OURS].append(waited / 1e3)
            since_kill = [end for end in ends if end[1] >= alone.formed_ms]
            found["recovery.join.pause", OURS].append(pause(since_kill, first.formed_ms))
            formed = joined
    return found


def torchrun_kill(rounds, random):
    """SIGKILL of one of torchrun's two ranks, of either in turn, at a random step between two checkpoints.

    recovery.kill: from the signal to the end of the first step of the ranks that were started again.
    recovery.kill.redone: steps that had ended before and were done again, because a checkpoint is all that is left.
    """
    found = {("recovery.kill", TORCHRUN): [], ("recovery.kill.redone", TORCHRUN): []}
    with Torchrun(PEER_PYTHON, PER_RANK, SAVE_EVERY) as peer:
        steps = peer.wait_for_steps(random.randrange(SAVE_EVERY, 2 * SAVE_EVERY))
        for index in range(rounds):
            restart = steps[-1][0]
            killed = peer.kill(index % WORKERS)
            # It goes on from a checkpoint, so that any number of steps up to the next one is lost as often.
            steps = peer.wait_for_steps(random.randint(10, 10 + SAVE_EVERY), after_restart=restart)
            recovered_s, again = restarted(steps, restart, killed)
            found["recovery.kill", TORCHRUN].append(recovered_s)
            found["recovery.kill.redone", TORCHRUN].append(again)
    return found


def freeze(rounds, random):
    """SIGSTOP of one of two workers, of either rank in turn; SIGCONT after the other has gone on.

    recovery.stop: from the signal to the end of the first step of a generation that was formed after it.
    """
    found = {("recovery.stop", OURS): []}
    with Cluster("recovery") as cluster:
        cluster.wait_for_steps(random.randint(50, 100))
        for index in range(rounds):
            name = cluster.member(index % WORKERS)
            frozen = cluster.freeze_worker(name)
            cluster.wait_for_end(since_ms=frozen)
            cluster.thaw_worker(name)
            cluster.wait_for_steps(random.randint(50, 100), since_ms=frozen)
            ends = step_ends(cluster.journal.metrics(since_ms=frozen))
            formed = next(g.formed_ms for g in cluster.journal.generations() if g.formed_ms >= frozen)
            found["recovery.stop", OURS].append((end_after(ends, formed) - frozen) / 1e3)
    return found


def kill_coordinator(rounds, random):
    """SIGKILL of the coordinator, which is started again at once, as `lsgan up` does, while two workers train.

    recovery.coordinator.lost: steps without a row of metrics, and steps that were done again.
    recovery.coordinator.pause: the longest time between the ends of two steps, from the signal until the workers have
    been back with the new coordinator for half a second, less a usual step: the median before the signal.
    """
    found = {("recovery.coordinator.lost", OURS): [], ("recovery.coordinator.pause", OURS): []}
    with Cluster("recovery") as cluster:
        formed = cluster.wait_for_steps(random.randint(50, 100))
        for _ in range(rounds):
            journal = cluster.journal
            killed = cluster.kill_coordinator()
            cluster.start_coordinator()
            listening = wall_ms()
            cluster.wait("a step that ended after the coordinator's return", lambda: journal.newest_ms() > listening)
            back = wall_ms() + 500
            cluster.wait("half a second more of steps", lambda: journal.newest_ms() > back)
            ends = step_ends(journal.metrics(since_ms=formed.formed_ms))
            news = [g for g in journal.generations() if g.number > formed.number]
            again = sum(redone(ends, g.formed_ms, g.from_reduction) for g in news)
            found["recovery.coordinator.lost", OURS].append(missing(ends) + again)
            found["recovery.coordinator.pause", OURS].append(longest_pause_s(ends, killed))
            already = journal.steps_done() - journal.generations()[-1].from_reduction // 2
            formed = cluster.wait_for_steps(already + random.randint(50, 100))
    return found


def goodput(kills):
    """Two workers, one killed every 20 s and another one started at once: steps done ÷ steps done undisturbed, both in
    the same time and, one after the other, by the same run."""
    seconds = kills * KILL_EVERY_S
    with Cluster("recovery") as cluster:
        cluster.wait_for_steps(USUAL)

        def kill_and_start(index):
            cluster.kill_worker(cluster.member(index % WORKERS))
            cluster.start_worker()

        windows = [window(seconds), window(seconds, kill_and_start)]
        cluster.wait("the last step", lambda: cluster.journal.newest_ms() > windows[-1][1])
        ends = step_ends(cluster.journal.metrics())
    undisturbed, disturbed = (steps_within(ends, *times) for times in windows)
    return {("recovery.goodput", OURS): [disturbed / undisturbed]}


def torchrun_goodput(kills):
    """The same with torchrun, which starts the ranks again by itself; what was done twice counts once."""
    seconds = kills * KILL_EVERY_S
    with Torchrun(PEER_PYTHON, PER_RANK, SAVE_EVERY) as peer:
        peer.wait_for_steps(USUAL)
        windows = [window(seconds), window(seconds, lambda index: peer.kill(index % WORKERS))]
        ends = [(step - 1, ms) for _, step, ms in peer.steps()]
    undisturbed, disturbed = (steps_within(ends, *times) for times in windows)
    return {("recovery.goodput", TORCHRUN): [disturbed / undisturbed]}


def window(seconds, disturb=None):
    """Lets time pass, with a disturbance in the middle of every interval; its begin and end in unix ms."""
    begin = wall_ms()
    for index in range(seconds // KILL_EVERY_S if disturb else 0):
        sleep_until(begin + (index + 0.5) * KILL_EVERY_S * 1e3)
        disturb(index)
    sleep_until(begin + seconds * 1e3)
    return begin, begin + seconds * 1e3


def sleep_until(unix_ms):
    time.sleep(max(0.0, (unix_ms - wall_ms()) / 1e3))


def snapshots(rounds):
    """snapshot.block: for how long the training thread stood still for a snapshot of 100 MB, as it says itself: for
    the copy, and for the writer of an earlier one if that is not done. snapshot.step: how much longer the step that
    follows a snapshot takes than a usual one, which on busy cores includes what the writer computes."""
    every = 10
    # The snapshot that closes a run blocks nothing; half an interval tells it apart.
    steps = rounds * every + every // 2
    queries = ["SELECT step, step_ms FROM metrics", "SELECT step, blocked_ms, len_bytes FROM checkpoints ORDER BY step"]
    _, (rows, checkpoints) = measure.lsgan(
        "snapshot", steps, f"checkpoint.every={every}",
        read=lambda journal: [measure.query(journal, sql) for sql in queries],
    )
    taken = [(step, blocked_ms) for step, blocked_ms, _ in checkpoints if step % every == 0]
    if len(taken) != rounds or min(len_bytes for _, _, len_bytes in checkpoints) < STATE_BYTES:
        raise BenchError(f"{rounds} snapshots of {STATE_BYTES} bytes were asked for, these were made: {checkpoints}")
    duration = dict(rows)
    usual = statistics.median(duration.values())
    return {
        ("snapshot.block", OURS): [blocked_ms / 1e3 for _, blocked_ms in taken],
        ("snapshot.step", OURS): [max(0.0, duration[step] - usual) / 1e3 for step, _ in taken],
    }


def sessions(rounds):
    """control.sessions_10000: the coordinator's CPU time per second over windows of two seconds, and the memory that it
    holds more than before the first session, each session's share. Sockets' buffers are the kernel's and not in it.

    The sessions are those of crates/coordinator/examples/sessions.rs, which says what they send.
    """
    with Cluster("sessions", workers=0, expects=MEMBERS) as cluster:
        pid = cluster.coordinator.pid
        before = resident_kib(pid)
        command = [RELEASE / "examples" / "sessions", "--coordinator", f"http://{cluster.address}"]
        command += ["--sessions", SESSIONS, "--members", MEMBERS, "--windows", rounds]
        seen = []
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([*map(str, command)], cwd=ROOT, **pipes) as load:
            try:
                for line in load.stdout:
                    seen.append(json.loads(line) | {
                        "at": time.monotonic(), "cpu_s": cpu_s(pid), "load_cpu_s": cpu_s(load.pid),
                        "kib": resident_kib(pid),
                    })
                    if len(seen) == rounds + 1:
                        break  # the sessions end when nobody listens to them any more
            finally:
                load.kill()
        if len(seen) <= rounds:
            raise BenchError(f"{command[0]} failed, see above; the coordinator says:\n{cluster.log('coordinator')}")
    each = rates(seen)
    sent, due = statistics.median(rate["heartbeats"] for rate in each), seen[0]["due_per_s"]
    if sent < ON_TIME * due:
        raise BenchError(f"{due} heartbeats a second were due and {sent:.0f} were sent: the machine is too slow or busy")
    return {
        ("control.sessions", "cores"): [rate["cores"] for rate in each],
        ("control.sessions", "load's cores"): [rate["load_cores"] for rate in each],
        ("control.sessions", "heartbeats/s"): [rate["heartbeats"] for rate in each],
        ("control.sessions", "KiB a session"): [(state["kib"] - before) / SESSIONS for state in seen[1:]],
    }


def cpu_s(pid):
    """CPU time that a process has used. The name in its line may have blanks and parentheses."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
