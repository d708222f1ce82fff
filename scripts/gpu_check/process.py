"""Starts a program, in the environment of the check, and waits for its end no longer than its part has time."""

import subprocess
import tempfile

from measure import Deadline

from gpu_check.schedule import Failed

# How much of what a program that failed has said is shown.
TAIL_LINES = 12


def run(context, command, env=None, what=None):
    """Runs a command to its end; what it wrote to standard output. `what` names it in errors."""
    with Child(context, command, env) as child:
        output = child.process.stdout.read()
        code = child.process.wait()
        if child.is_late():
            late = f"{what or child.name} did not end in the time that its part has"
            raise Failed(f"{late}\n{child.complaints()}".rstrip())
        if code:
            raise Failed(f"{what or child.name} ended with {code}\n{tail(output)}\n{child.complaints()}".rstrip())
        return output


def tail(text):
    return "\n".join(text.splitlines()[-TAIL_LINES:])


class Child:
    """A program in a session of its own, killed with all that it started on leaving, or when its part's time ends."""

    def __init__(self, context, command, env=None):
        self.context, self.command, self.env = context, [*map(str, command)], env or {}
        self.name = self.command[0].rsplit("/", 1)[-1]

    def __enter__(self):
        self.errors = tempfile.TemporaryFile("w+")
        try:
            self.process = subprocess.Popen(
                self.command, cwd=self.context.root, env=self.context.env | self.env, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=self.errors, text=True, start_new_session=True,
            )
        except OSError as error:
            self.errors.close()
            raise Failed(f"{self.command[0]} cannot be started: {error}") from error
        self.deadline = Deadline(self.process, max(0.1, self.context.clock.left_s()))
        return self

    def __exit__(self, *_):
        self.deadline.end()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def is_late(self):
        return self.context.clock.left_s() <= 0

    def complaints(self):
        self.errors.seek(0)
        return tail(self.errors.read())
