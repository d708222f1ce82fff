#!/usr/bin/env python3
"""The same LSGAN training step in PyTorch on one device, for scripts/gpu-check.

    python3 bench/gpu_peer.py --device cuda --seconds 120 dcgan64:64:bf16:eager lsgan112:256:f32:compiled

Measures the rows MODEL:BATCH:PRECISION:VARIANT in one process, in that order, and prints a line of JSON for each, until
the seconds are over. The work is that of bench/configs/MODEL-f32.yaml; the pictures lie on the device as bytes.

eager     channels-last, fused Adam, D frozen in G's half, no loss read; nothing that needs another compiler
compiled  the same, both networks through torch.compile(mode="reduce-overhead"), which is CUDA graphs

f32 is without TF32, tf32 with it everywhere, bf16 is autocast with TF32 off.
"""

import argparse
import json
import os
import sys
import time
import traceback
from contextlib import nullcontext

import ddp_peer

LATENT = {"dcgan64": (100, 1, 1), "lsgan112": (1024,)}
# A row is timed for so long, after its warm-up.
TIMED_S = 2.0
WARM_UP = {"eager": 5, "compiled": 8}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--cache", help="where torch.compile keeps what it compiled")
    parser.add_argument("rows", nargs="+", metavar="MODEL:BATCH:PRECISION:VARIANT")
    args = parser.parse_args()
    if args.cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = args.cache
    end = time.monotonic() + args.seconds
    for row in args.rows:
        if time.monotonic() >= end:
            break
        try:
            say(row=row, images_per_s=round(images_per_s(args.device, *row.split(":")), 1))
        except Exception as error:  # one row that PyTorch cannot do is not to cost the others
            traceback.print_exc()
            say(row=row, error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def say(**line):
    print(json.dumps(line), flush=True)


def images_per_s(device, model, batch, precision, variant):
    import torch

    if device == "cpu":
        torch.set_num_threads(1)  # as ours
    torch.manual_seed(1)
    torch._dynamo.reset()
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = precision == "tf32"
    batch = int(batch)
    step = make_step(device, model, batch, precision, variant == "compiled")
    finish = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(WARM_UP[variant] if device == "cuda" else 2):
        step()
    finish()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < TIMED_S:
        # The host runs ahead of the device; it is waited for now and then, so that the time is about right.
        for _ in range(10 if device == "cuda" else 1):
            step()
        finish()
        steps += 10 if device == "cuda" else 1
    return steps * batch / (time.perf_counter() - began)


def make_step(device, model, batch, precision, compiled):
    import torch

    generator, discriminator = (net.to(device, memory_format=torch.channels_last) for net in networks(model))
    adam = lambda net: torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    adam_g, adam_d = adam(generator), adam(discriminator)
    weights_of_discriminator = list(discriminator.parameters())
    make, judge = generator, discriminator
    if compiled:
        make, judge = (torch.compile(net, mode="reduce-overhead") for net in (generator, discriminator))
    sample = sampler(device, model, batch)
    low = lambda: torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()

    def distance(output, target):
        """½E[(D − target)²]"""
        return 0.5 * (output.float() - target).square().mean()

    def judged(pictures, target):
        with low():
            output = judge(pictures)
        return distance(output, target)

    def step():
        if compiled:
            torch.compiler.cudagraph_mark_step_begin()
        real, noise = sample(), torch.randn(batch, *LATENT[model], device=device)
        for weight in weights_of_discriminator:
            weight.requires_grad_(True)
        adam_d.zero_grad()
        judged(real, 1.0).backward()
        with low():
            fake = make(noise)
        # A CUDA graph's output is overwritten by its next run.
        fake = fake.clone() if compiled else fake
        judged(fake.detach(), -1.0).backward()
        adam_d.step()
        for weight in weights_of_discriminator:
            weight.requires_grad_(False)
        adam_g.zero_grad()
        judged(fake, 0.0).backward()
        adam_g.step()

    return step


def networks(model):
    """G and D."""
    if model == "lsgan112":
        return lsgan112_generator(), lsgan112_discriminator()
    shape = ddp_peer.MODELS[model]
    return ddp_peer.make_generator(shape), ddp_peer.make_discriminator(shape)


def lsgan112_generator(width=64):
    """z → 7×7 → … → 112, as crates/train/src/models/lsgan112.rs has it."""
    from torch import nn

    wide = 4 * width
    layers = [nn.Linear(1024, 7 * 7 * wide), nn.Unflatten(1, (wide, 7, 7)), nn.BatchNorm2d(wide), nn.ReLU(True)]
    inputs = wide
    for outputs, stride in [(wide, 2), (wide, 1), (wide, 2), (wide, 1), (2 * width, 2), (width, 2)]:
        layers += [nn.ConvTranspose2d(inputs, outputs, 3, stride, 1, stride - 1)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(True)]
        inputs = outputs
    return ddp_peer.initialised(nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 3, 1, 1), nn.Tanh()))


def lsgan112_discriminator(width=64):
    from torch import nn

    layers = [nn.Conv2d(3, width, 5, 2, 2), nn.LeakyReLU(0.2)]
    for inputs in (width, 2 * width, 4 * width):
        layers += [nn.Conv2d(inputs, 2 * inputs, 5, 2, 2), nn.BatchNorm2d(2 * inputs), nn.LeakyReLU(0.2)]
    return ddp_peer.initialised(nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * width * 7 * 7, 1)))


def sampler(device, model, batch):
    """Draws batches [batch, 3, size, size] in −1..1 of pictures that lie on the device."""
    import torch
    from torch.nn.functional import interpolate

    size = 112 if model == "lsgan112" else ddp_peer.MODELS[model].size
    pictures = interpolate(ddp_peer.pictures().float(), (size, size), mode="bilinear")
    pictures = pictures.round().to(torch.uint8).to(device)

    def sample():
        chosen = pictures[torch.randint(len(pictures), (batch,), device=device)].expand(-1, 3, -1, -1)
        return chosen.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1.0)

    return sample


if __name__ == "__main__":
    sys.exit(main())
