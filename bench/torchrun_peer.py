"""The other side of the recovery figures: what torchrun starts, and starts again after one of its ranks was killed.

It trains what bench/ddp_peer.py trains, with all settings at their defaults, saves every so many steps as PyTorch's
tutorial on fault tolerance does, and goes on from what was saved. It writes `pid-RANK` and, after every step, a line
`restart steps-done unix-ms` to `steps`.
"""

import argparse
import os
import time
from pathlib import Path

import torch
from torch import distributed

import ddp_peer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--per-rank", type=int, required=True)
    parser.add_argument("--save-every", type=int, required=True)
    args = parser.parse_args()

    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, restart = distributed.get_rank(), os.environ["TORCHELASTIC_RESTART_COUNT"]
    (args.folder / f"pid-{rank}").write_text(str(os.getpid()))
    torch.manual_seed(rank)
    step, parts = ddp_peer.make_step(ddp_peer.MODELS["dcgan32"], ddp_peer.VARIANTS["eager"], args.per_rank)
    saved = args.folder / "saved.pt"
    done = load(saved, parts)
    distributed.barrier()  # nobody saves before all have loaded
    with open(args.folder / "steps", "a", buffering=1) as log:
        while True:
            losses = step()
            [loss.item() for loss in losses]
            done += 1
            if rank == 0:
                log.write(f"{restart} {done} {time.time() * 1e3:.1f}\n")
                if done % args.save_every == 0:
                    save(saved, parts, done)


def save(path, parts, done):
    new = path.with_suffix(".new")
    torch.save({"done": done} | {name: part.state_dict() for name, part in parts.items()}, new)
    new.replace(path)


def load(path, parts):
    """Steps done in what was saved; 0 if nothing was."""
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["done"]


if __name__ == "__main__":
    main()
