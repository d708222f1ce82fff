"""What is run: the command line's choices, and the run that all rows train."""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from .run import HERE, Skipped, hashes

ROOT = HERE.parent.parent

# What the rows train: real pictures and networks, as small as they can be.
RUN = {
    "run": "e2e", "seed": 1, "steps": 0,
    "data": {"source": {"idx": {"images": "datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"}},
             "image": {"size": 32, "channels": 1}, "shard_records": 64},
    "model": {"generator": {"dcgan": {"latent": {"normal": 16}, "width": 8}}, "discriminator": {"dcgan": {"width": 8}}},
    "objective": {"least_squares": {"a": -1, "b": 1, "c": 0}},
    "optimizer": {"generator": {"adam": {"learning_rate": 2.0e-4}}, "discriminator": {"adam": {"learning_rate": 2.0e-4}}},
    "batch": {"virtual_ranks": 4, "per_rank": 4},
    "cluster": {"min_workers": 1, "max_workers": 4, "failure_timeout": "3s"},
    "checkpoint": {"to": "/var/lib/lsgan/e2e", "every": 250, "keep_last": 3},
    "samples": {"grid": "2x2", "every": 1000},
}


# More than any cluster does while a row lasts.
ENDLESS_STEPS = 10_000_000


class Options:
    def __init__(self, arguments):
        self.__dict__ |= vars(arguments)
        # Of the runs that go on for as long as their row needs, whatever this machine does in that time: a lost node is noticed
        # after most of a minute. They are then given fewer steps (`Run.wind_up`), for which only `lsgan up` has the hashes.
        self.long_steps = ENDLESS_STEPS if arguments.lsgan else 4 * arguments.steps
        self.known, self.lock = {}, threading.Lock()
        self.out = Path(arguments.out) if arguments.out else None

    def needs_hook(self):
        if not self.hook_command:
            raise Skipped("it needs --hook")

    def hook(self, action, *arguments):
        if self.hook_command:
            subprocess.run([*self.hook_command.split(), action, *arguments], check=True, stdout=subprocess.DEVNULL)

    def run_file(self, fields):
        """The run's file with these fields set: JSON is YAML."""
        run = json.loads(json.dumps(RUN))
        for path, value in ({"steps": self.steps} | fields).items():
            *above, name = path.split(".")
            place = run
            for key in above:
                place = place[key]
            place[name] = value
        return json.dumps(run, indent=2) + "\n"

    def field(self, path):
        place = RUN
        for key in path.split("."):
            place = place[key]
        return place

    def expected(self, steps):
        """The hashes of an undisturbed run of so many steps, as far as they are known."""
        with self.lock:
            if steps not in self.known and self.lsgan:
                self.known[steps] = self.up(steps)
                print(f"{f'lsgan up, {steps} steps':24} {'':>4}   {self.known[steps]['generator'][:16]}", flush=True)
            return self.known.get(steps)

    def up(self, steps):
        """Those of `lsgan up` on this machine."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "run.yaml").write_text(self.run_file({"steps": steps, "checkpoint.to": f"{folder}/run"}))
            up = [self.lsgan, "up", "--workers", "2", "--config", f"{folder}/run.yaml"]
            done = subprocess.run(up, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"error: {' '.join(up)}: {done.stderr[-2000:]}")
            return hashes(done.stdout)
