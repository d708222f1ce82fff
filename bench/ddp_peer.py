#!/usr/bin/env python3
"""The benchmark's other side: the same LSGAN training step in PyTorch, data parallel with DDP over gloo.

    .venv-peer/bin/python bench/ddp_peer.py --model dcgan64 --variant eager --steps 8

Starts the ranks as processes of its own, one intra-op thread each, and prints JSON lines: `first_step` as soon
as the first step is done, `result` at the end. The work is what bench/configs/MODEL-*.yaml says for ours: two
ranks, 64 samples each, DCGAN, least squares with a = -1, b = 1, c = 0, Adam, Fashion-MNIST out of memory; or the
toy of bench/configs/mlp.yaml.

Variants:
  eager           DDP as its tutorial and the DCGAN example write it: f32, every setting at its default, the losses
                  read after each step
  tuned           what helps without another framework: gradients as bucket views, no buffer broadcast, one
                  all-reduce for D (no_sync for the first backward), D frozen in the G phase, channels-last, fused
                  Adam, losses read every tenth step
  compiled        tuned, and both networks through torch.compile
  fp16-hook       tuned, gradients rounded to fp16 on the wire (DDP's fp16_compress_hook)
  bf16            tuned, under bf16 autocast
  bf16-compiled   compiled, under bf16 autocast

--malloc keep makes glibc keep freed memory and use huge pages; that is an environment variable away for any user,
so our side's allocator settings are not held against PyTorch.
"""

import argparse
import gzip
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

IMAGES = Path(__file__).resolve().parent.parent / "datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
LATENT = 100
TOY_LATENT = 256

MALLOC_KEEP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(256 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mxfast=0",
}


@dataclass(frozen=True)
class Model:
    width: int
    # Of pictures; the toy of points in the plane has none.
    size: int = 0
    channels: int = 0


MODELS = {
    "dcgan64": Model(size=64, channels=3, width=64),
    "dcgan32": Model(size=32, channels=1, width=32),
    "mlp": Model(width=128),
}


@dataclass(frozen=True)
class Variant:
    tuned: bool = True
    compiled: bool = False
    bf16: bool = False
    fp16_hook: bool = False


VARIANTS = {
    "eager": Variant(tuned=False),
    "tuned": Variant(),
    "compiled": Variant(compiled=True),
    "fp16-hook": Variant(fp16_hook=True),
    "bf16": Variant(bf16=True),
    "bf16-compiled": Variant(compiled=True, bf16=True),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--variant", choices=VARIANTS, required=True)
    parser.add_argument("--malloc", choices=["default", "keep"], default="default")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of one rank")
    parser.add_argument("--per-rank", type=int, default=64, help="samples of one rank in a step")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--namespaces", help="network namespaces, one for each rank, with commas between them")
    parser.add_argument("--master", default="127.0.0.1", help="address of rank 0")
    parser.add_argument("--interface", help="the network interface on which gloo sums")
    parser.add_argument("--compiler-cache", help="where torch.compile keeps what it compiled")
    return parser.parse_args()


def launch(args):
    """Starts one process a rank and waits for all; this process never imports torch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "MASTER_ADDR": args.master,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(args.ranks),
        "OMP_NUM_THREADS": str(args.threads),
    }
    if args.malloc == "keep":
        env |= MALLOC_KEEP
    if args.compiler_cache:
        env["TORCHINDUCTOR_CACHE_DIR"] = args.compiler_cache
    if args.interface:
        env["GLOO_SOCKET_IFNAME"] = args.interface
    spaces = args.namespaces.split(",") if args.namespaces else [None] * args.ranks
    command = [sys.executable, *sys.argv]
    inside = [["ip", "netns", "exec", space, *command] if space else command for space in spaces]
    ranks = [subprocess.Popen(inside[rank], env=env | {"RANK": str(rank)}) for rank in range(args.ranks)]
    try:
        return max(abs(rank.wait()) for rank in ranks)
    finally:
        for rank in ranks:
            rank.kill()


def main():
    args = arguments()
    if "RANK" not in os.environ:
        sys.exit(launch(args))
    train(args, rank=int(os.environ["RANK"]))


def train(args, rank):
    import torch
    from torch import distributed

    torch.set_num_threads(args.threads)
    torch.manual_seed(rank)
    distributed.init_process_group("gloo")
    step, _ = make_step(MODELS[args.model], VARIANTS[args.variant], args.per_rank)

    def say(**line):
        if rank == 0:
            print(json.dumps(line), flush=True)

    losses = step()
    say(event="first_step")
    for _ in range(args.warm_up - 1):
        step()
    distributed.barrier()
    ends = [time.perf_counter()]
    for index in range(args.steps):
        losses = step()
        if VARIANTS[args.variant].tuned is False or index % 10 == 9:
            losses = [loss.item() for loss in losses]
        ends.append(time.perf_counter())
    distributed.barrier()
    elapsed = time.perf_counter() - ends[0]

    each = sorted(after - before for before, after in zip(ends, ends[1:]))
    say(
        event="result",
        model=args.model,
        variant=args.variant,
        malloc=args.malloc,
        images_per_s=round(args.steps * args.ranks * args.per_rank / elapsed, 2),
        mean_step_ms=round(elapsed / args.steps * 1e3, 3),
        median_step_ms=round(each[len(each) // 2] * 1e3, 2),
        steps=args.steps,
        losses=[round(float(loss), 5) for loss in losses],
        torch=torch.__version__,
    )
    distributed.destroy_process_group()


def make_step(model, variant, per_rank):
    """The training step as a function without arguments that returns the losses of D and G; what it trains, by name."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    layout = torch.channels_last if variant.tuned and model.size else torch.contiguous_format
    make = (make_generator, make_discriminator) if model.size else (make_toy_generator, make_toy_discriminator)
    generator, discriminator = (network(model).to(memory_format=layout) for network in make)
    latent = (LATENT, 1, 1) if model.size else (TOY_LATENT,)
    weights_of_discriminator = list(discriminator.parameters())
    fused = {"fused": True} if variant.tuned else {}
    adam = lambda net: torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999), **fused)
    adam_g, adam_d = adam(generator), adam(discriminator)
    parts = {"generator": generator, "discriminator": discriminator, "adam_g": adam_g, "adam_d": adam_d}
    if variant.compiled:
        generator, discriminator = torch.compile(generator), torch.compile(discriminator)
    options = {"gradient_as_bucket_view": True, "broadcast_buffers": False} if variant.tuned else {}
    ddp_g = DistributedDataParallel(generator, **options)
    ddp_d = DistributedDataParallel(discriminator, **options)
    if variant.fp16_hook:
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

        for net in (ddp_g, ddp_d):
            net.register_comm_hook(None, fp16_compress_hook)
    sample = make_sampler(model, per_rank, layout) if model.size else make_toy_sampler(per_rank)

    def precision():
        return torch.autocast("cpu", dtype=torch.bfloat16) if variant.bf16 else nullcontext()

    def distance(output, target):
        """½E[(D − target)²]"""
        return 0.5 * (output.float() - target).square().mean()

    def freeze_discriminator(frozen):
        if variant.tuned:
            for weight in weights_of_discriminator:
                weight.requires_grad_(not frozen)

    # Frozen, D has no gradients to reduce, so it is called without DDP around it.
    judge = discriminator if variant.tuned else ddp_d

    def step():
        real, noise = sample(), torch.randn(per_rank, *latent)

        freeze_discriminator(False)
        adam_d.zero_grad()
        with ddp_d.no_sync() if variant.tuned else nullcontext():
            with precision():
                output = ddp_d(real)
            loss_real = distance(output, 1.0)
            loss_real.backward()
        with precision():
            fake = ddp_g(noise)
            output = ddp_d(fake.detach())
        loss_fake = distance(output, -1.0)
        loss_fake.backward()
        adam_d.step()

        freeze_discriminator(True)
        adam_g.zero_grad()
        with precision():
            output = judge(fake)
        loss_g = distance(output, 0.0)
        loss_g.backward()
        adam_g.step()
        return (loss_real + loss_fake).detach(), loss_g.detach()

    return step, parts


def make_generator(model):
    """z → 4×4 → … → size, halving the channels; batch norm and ReLU but for the last, tanh."""
    from torch import nn

    channels = model.width * model.size // 8
    layers = [nn.ConvTranspose2d(LATENT, channels, 4, 1, 0, bias=False), nn.BatchNorm2d(channels), nn.ReLU(True)]
    while channels > model.width:
        layers += [nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False)]
        channels //= 2
        layers += [nn.BatchNorm2d(channels), nn.ReLU(True)]
    layers += [nn.ConvTranspose2d(channels, model.channels, 4, 2, 1, bias=False), nn.Tanh()]
    return initialised(nn.Sequential(*layers))


def make_discriminator(model):
    """size → … → 4×4 → 1, doubling the channels; leaky ReLU, batch norm but for the first and last."""
    from torch import nn

    channels, widest = model.width, model.width * model.size // 8
    layers = [nn.Conv2d(model.channels, channels, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    while channels < widest:
        layers += [nn.Conv2d(channels, channels * 2, 4, 2, 1, bias=False)]
        channels *= 2
        layers += [nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Conv2d(channels, 1, 4, 1, 0, bias=False)]
    return initialised(nn.Sequential(*layers))


def toy(inputs, width, outputs):
    """Two hidden layers of tanh."""
    from torch import nn

    layers = [nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)]
    for layer in layers[::2]:
        nn.init.orthogonal_(layer.weight, 1.4)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def make_toy_generator(model):
    return toy(TOY_LATENT, model.width, 2)


def make_toy_discriminator(model):
    return toy(2, model.width, 1)


def make_toy_sampler(per_rank):
    """Draws points of eight Gaussians on a ring."""
    import torch

    angles = torch.arange(8) * (torch.pi / 4)
    centres = torch.stack([angles.cos(), angles.sin()], dim=1)
    return lambda: centres[torch.randint(8, (per_rank,))] + 0.01 * torch.randn(per_rank, 2)


def initialised(net):
    """DCGAN's: weights N(0, 0.02), batch norm's around 1."""
    from torch import nn

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return net


def pictures():
    """The data set as it is: u8 [count, 1, height, width]."""
    import torch

    raw = gzip.decompress(IMAGES.read_bytes())
    count, height, width = (int.from_bytes(raw[at : at + 4], "big") for at in (4, 8, 12))
    return torch.frombuffer(bytearray(raw[16:]), dtype=torch.uint8).view(count, 1, height, width)


def make_sampler(model, per_rank, layout):
    """Draws batches of real pictures, u8 in memory, scaled to −1..1 as f32 [per_rank, channels, size, size]."""
    import torch
    from torch.nn.functional import interpolate, pad

    images = pictures()
    count = len(images)
    if model.size == 32:
        images = pad(images, (2, 2, 2, 2))
    else:
        images = interpolate(images.float(), (model.size, model.size), mode="bilinear").round().to(torch.uint8)

    def sample():
        chosen = images[torch.randint(count, (per_rank,))].expand(-1, model.channels, -1, -1)
        return chosen.to(torch.float32, memory_format=layout).div_(127.5).sub_(1.0)

    return sample


if __name__ == "__main__":
    main()
