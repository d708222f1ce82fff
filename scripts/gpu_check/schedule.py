"""Parts one after another, each within its time, all within one. Knows nothing of what they do."""

import time
import traceback
from dataclasses import dataclass, field


class Failed(Exception):
    """A part found what must not be, in words for the user; `figures` is what it has found besides."""

    def __init__(self, text, figures=None):
        super().__init__(text)
        self.figures = figures or {}


class Skipped(Exception):
    """A part cannot be run here, in words for the user."""


@dataclass
class Part:
    name: str
    title: str
    # Given the context; its figures, by key.
    take: object
    # What it starts.
    binaries: tuple
    # It gets no more than this, and is not begun with less than that.
    limit_s: float
    needs_s: float = 10


@dataclass
class Outcome:
    name: str
    title: str
    # passed, failed or skipped
    word: str
    why: str = ""
    seconds: float = 0.0
    figures: dict = field(default_factory=dict)


class Clock:
    """The time of a whole run and of the part that is on."""

    def __init__(self, total_s, now=time.monotonic):
        self.now = now
        self.end = self.part_end = now() + total_s

    def begin(self, limit_s):
        self.part_end = min(self.end, self.now() + limit_s)

    def left_s(self):
        """What the part that is on has left."""
        return max(0.0, self.part_end - self.now())

    def total_left_s(self):
        return max(0.0, self.end - self.now())


def run(parts, context, clock, say):
    """Runs the parts in order; an outcome for each. `say` hears of each beginning and end."""
    outcomes = []
    for part in parts:
        say(f"==> {part.name}: {part.title}")
        outcome = run_one(part, context, clock)
        say(f"    {outcome.word}, {outcome.seconds:.0f} s{': ' if outcome.why else ''}{outcome.why}")
        outcomes.append(outcome)
    return outcomes


def run_one(part, context, clock):
    outcome = Outcome(part.name, part.title, "passed")
    if clock.total_left_s() < part.needs_s:
        outcome.word, outcome.why = "skipped", f"the time ran out: it takes {part.needs_s:.0f} s"
        return outcome
    clock.begin(part.limit_s)
    began = clock.now()
    try:
        outcome.figures = part.take(context)
    except Skipped as skipped:
        outcome.word, outcome.why = "skipped", str(skipped)
    except Failed as failed:
        outcome.word, outcome.why, outcome.figures = "failed", str(failed), failed.figures
    except Exception as error:  # a mistake in one part is not to cost the others
        traceback.print_exc()
        outcome.word, outcome.why = "failed", f"{type(error).__name__}: {error}"
    outcome.seconds = round(clock.now() - began, 1)
    return outcome
