"""`worker --probe`: what the machine has to compute with."""

import re

from gpu_check import process
from gpu_check.schedule import Failed


def take(context):
    output = process.run(context, [context.binary("worker"), "--probe"], what="worker --probe")
    found = facts(output)
    for line in output.splitlines():
        context.say(line)
    context.gpus = sum(key.startswith("GPU ") for key in found)
    if context.cpu:
        return found
    if context.gpus == 0:
        why = found.get("GPUs", "none").removeprefix("none: ")
        raise Failed(f"there is no GPU to check (--cpu tries this script without): {why}", found)
    if not found.get("device", "").startswith("cuda"):
        why = found.get("warning", "the worker would take the CPU")
        raise Failed(f"there is a GPU, and it is not used: {why}", found)
    return found


def facts(output):
    """The lines of `worker --probe` by what stands before them."""
    lines = (re.match(r"(GPU \d+|\S+)\s+(.*)", line) for line in output.splitlines())
    return {line[1]: line[2] for line in lines if line}
