"""How much of a time the GPU did nothing, as its driver says: the share of each sample in which no kernel ran."""

import os
import shutil
import subprocess

# The driver's own samples are longer.
EVERY_MS = 200


class Watched:
    """Asks the driver while a block runs; `share` is known after it, None where there is no nvidia-smi."""

    def __enter__(self):
        self.share, self.process = None, None
        if program := shutil.which("nvidia-smi"):
            # One worker trains, on the first GPU that it sees.
            gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
            command = [program, f"--id={gpu}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--loop-ms={EVERY_MS}"]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            said, _ = self.process.communicate()
            self.share = share(said)


def share(said):
    """The later half of the samples, as the rate is that of the later half of the steps."""
    samples = [int(line) for line in said.split() if line.isdigit()]
    later = samples[len(samples) // 2 :]
    return round(1 - sum(later) / len(later) / 100, 3) if later else None
