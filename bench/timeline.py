"""From what processes wrote down to figures. Nothing runs here.

`ends` are pairs (step, unix ms of its end) in the order of the steps, which count from 0.
"""

import statistics

# Steps of which a usual one is the median.
USUAL = 20


def step_ends(rows):
    """(step, ms of its end) of each step, from rows (step, ms of its end, ms that it took).

    A step whose first half was done by a generation before has no row of its own; it ended when the next one began.
    """
    ends = []
    for step, end_ms, took_ms in rows:
        if ends and ends[-1][0] == step - 2:
            ends.append((step - 1, end_ms - took_ms))
        ends.append((step, end_ms))
    return ends


def end_after(ends, ms):
    """When the first step ended at or after then."""
    return next(end_ms for _, end_ms in ends if end_ms >= ms)


def redone(ends, formed_ms, from_reduction):
    """How many of the steps that had ended when a generation was formed are done again by it."""
    done = [step + 1 for step, end_ms in ends if end_ms < formed_ms]
    return max(0, done[-1] - from_reduction // 2) if done else 0


def missing(ends):
    """How many steps between the first and the last have no end."""
    return ends[-1][0] - ends[0][0] + 1 - len(ends)


def gaps(ends):
    return [after[1] - before[1] for before, after in zip(ends, ends[1:])]


def trimmed_mean(figures):
    """The mean of what lies between the lowest and the highest tenth. Ends are told in whole ms, and a median of steps of a
    few ms keeps that grain."""
    cut = len(figures) // 10
    return statistics.mean(sorted(figures)[cut : len(figures) - cut])


def pause(ends, formed_ms):
    """What those who stepped already lose by a generation that is formed with one more, in their steps: the time from
    the end of the last step before to the end of the first one after, less a usual step of the new generation, divided
    by a usual one of the old. None if the old one had too few steps to know."""
    before, after = ([end for end in ends if (end[1] >= formed_ms) == later] for later in (False, True))
    if len(before) < 2 or len(after) < 2:
        return None
    gap = after[0][1] - before[-1][1]
    usual_before, usual_after = (statistics.median(gaps(some)) for some in (before[-USUAL:], after[:USUAL]))
    return max(0.0, gap - usual_after) / usual_before


def longest_pause_s(ends, since_ms):
    """The longest time between two ends, one of them after then, less the median of those before."""
    before = [end for end in ends if end[1] < since_ms]
    usual = statistics.median(gaps(before[-2 * USUAL :]))
    return max(0.0, max(gaps(ends[len(before) - 1 :])) - usual) / 1e3


def steps_within(ends, begin_ms, end_ms):
    """How much further a run is at the end of a time than at its beginning, in steps."""
    upto = lambda ms: [step for step, at in ends if at <= ms][-1]
    return upto(end_ms) - upto(begin_ms)


def restarted(steps, restart, killed_ms):
    """From torchrun's lines (restart, steps done, ms): seconds from the kill in this life to the first step of the next
    life, and how many steps it does again."""
    first = next(line for line in steps if line[0] > restart)
    top = max(done for life, done, _ in steps if life == restart)
    return (first[2] - killed_ms) / 1e3, max(0, top - first[1] + 1)


def rates(states):
    """What was used and sent a second between each two states that follow each other."""

    def between(before, after):
        seconds = after["at"] - before["at"]
        per_s = lambda key: (after[key] - before[key]) / seconds
        return {"cores": per_s("cpu_s"), "load_cores": per_s("load_cpu_s"), "heartbeats": per_s("heartbeats")}

    return [between(before, after) for before, after in zip(states, states[1:])]
