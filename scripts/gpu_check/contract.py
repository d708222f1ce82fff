"""The collective's contract between processes: NCCL on GPUs, or TCP with --cpu.

On one GPU each rank says that it is on a host of its own; NCCL refuses a GPU that it sees twice on one.
"""

import json
import time
from contextlib import ExitStack

from gpu_check.process import Child
from gpu_check.schedule import Failed

RANKS = 3
# This rank is killed at the end.
VICTIM = 1
# A second is promised after a death; a GPU that ranks take turns on is given another.
NOTICED_WITHIN_MS = 2_000


def take(context):
    if context.cpu:
        context.say("over TCP: NCCL needs GPUs")
        return {"collective": "tcp"} | held(context, RANKS, "tcp")
    try:
        found = held(context, RANKS, "nccl")
    except Failed as failed:
        # Several ranks on one GPU are this check's own wish; NCCL does not promise that.
        if context.gpus > 1 or failed.figures.get("cases"):
            raise
        context.say(f"{RANKS} ranks on one GPU: {failed}")
        context.say("goes on with one rank")
        context.shares_gpu = False
        return {"collective": "nccl", "refused": str(failed)} | held(context, 1, "nccl")
    return {"collective": "nccl"} | found


def held(context, size, collective):
    """Runs the contract in so many processes."""
    heard = [Heard() for _ in range(size)]
    with ExitStack() as stack:
        ranks = []
        for rank in range(size):
            command = [context.binary("contract_rank"), rank, size, collective]
            command += [rank % context.gpus] if context.gpus else []
            env = {"NCCL_DEBUG": "WARN"} | context.own_host(f"rank-{rank}")
            ranks.append(stack.enter_context(Child(context, command, env)))
        addresses = [one.until(rank, "address")["address"] for rank, one in zip(ranks, heard)]
        for rank in ranks:
            rank.process.stdin.write(" ".join(addresses) + "\n")
            rank.process.stdin.flush()
        if size == 1:
            heard[0].rest(ranks[0])
        else:
            noticed = kill(ranks, heard)
    cases = heard[0].cases
    if not cases:
        raise Failed("no case was run")
    found = {"ranks": size, "cases": len(cases), "case_ms": cases}
    if size > 1:
        found["death_noticed_ms"] = noticed
    context.say(f"{len(cases)} cases with {size} ranks")
    if size == 1:
        return found
    context.say(f"a SIGKILL was noticed after {noticed} ms")
    if noticed > NOTICED_WITHIN_MS:
        raise Failed(f"a SIGKILL was noticed after {noticed} ms; accepted are {NOTICED_WITHIN_MS}", found)
    return found


def kill(ranks, heard):
    """Kills one when all sum; after how many ms the last of the others knew."""
    for rank, one in zip(ranks, heard):
        one.until(rank, "ready")
    at = time.time() * 1e3
    ranks[VICTIM].process.kill()
    others = [(rank, one) for index, (rank, one) in enumerate(zip(ranks, heard)) if index != VICTIM]
    noticed = max(one.until(rank, "noticed_unix_ms")["noticed_unix_ms"] for rank, one in others)
    for rank, one in others:
        one.rest(rank)
    return round(noticed - at)


class Heard:
    """What one rank has said."""

    def __init__(self):
        self.cases = {}
        # What is not the program's own: NCCL writes its warnings to standard output.
        self.other = []

    def take(self, text):
        if not text.startswith("{"):
            self.other.append(text.rstrip())
            return {}
        line = json.loads(text)
        if "case" in line:
            self.cases[line["case"]] = line["ms"]
        return line

    def until(self, rank, key):
        """Reads to the line that has this key; it."""
        for text in rank.process.stdout:
            line = self.take(text)
            if key in line:
                return line
        raise self.ended(rank)

    def rest(self, rank):
        """Reads to the end, which must be a good one."""
        for text in rank.process.stdout:
            self.take(text)
        if rank.process.wait():
            raise self.ended(rank)

    def ended(self, rank):
        late = " (its part's time is over)" if rank.is_late() else ""
        last = f"after {list(self.cases)[-1]}" if self.cases else "before the first case"
        said = f"rank {rank.command[1]} of {rank.command[2]} ended {last} with {rank.process.wait()}{late}"
        words = "\n".join([said, *self.other[-3:], rank.complaints()]).rstrip()
        return Failed(words, {"cases": len(self.cases)})
