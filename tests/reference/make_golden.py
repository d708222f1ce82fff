#!/usr/bin/env python3
"""Writes the golden numbers that crates/train/tests/golden.rs compares with: three steps of real PyTorch.

    python -m venv .venv-peer && .venv-peer/bin/pip install torch==2.11.0 safetensors==0.8.0 numpy
    .venv-peer/bin/python tests/reference/make_golden.py

Each fixture holds, for one model: the initial state dicts, the samples and the noise of every step, the losses
and D's means of every step, and the state dicts, Adam's moments and the moving average of G after the last one.
The versions stand in the fixture's metadata. One thread, the CPU.

The numbers are computed in f64 and stored as f32. The same steps in f32, with both memory orders, must agree with
them to half of the test's tolerance, or nothing is written: a unit whose input is zero up to rounding would
make ReLU's gradient, and so the comparison, a matter of luck. The seeds are the first that have no such unit.

D is frozen in G's half, and its batch norms do not count G's fakes of that half: their running statistics are
put back after it.
"""

import json
import pathlib
import platform

import torch
from safetensors.torch import save_file
from torch import nn

STEPS = 3
TOLERANCES = 1e-5, 1e-4  # of crates/train/tests/golden.rs: for flat vectors, for single tensors
HERE = pathlib.Path(__file__).resolve().parent


class Network(nn.Module):
    """As in PyTorch's DCGAN tutorial: a Sequential called main."""

    def __init__(self, *layers):
        super().__init__()
        self.main = nn.Sequential(*layers)

    def forward(self, x):
        return self.main(x)


def dcgan32(width, latent, channels):
    def up(i, o, stride, padding):
        return nn.ConvTranspose2d(i, o, 4, stride, padding, bias=False)

    def down(i, o, stride, padding):
        return nn.Conv2d(i, o, 4, stride, padding, bias=False)

    w = width
    g = Network(
        up(latent, 4 * w, 1, 0), nn.BatchNorm2d(4 * w), nn.ReLU(),
        up(4 * w, 2 * w, 2, 1), nn.BatchNorm2d(2 * w), nn.ReLU(),
        up(2 * w, w, 2, 1), nn.BatchNorm2d(w), nn.ReLU(),
        up(w, channels, 2, 1), nn.Tanh(),
    )
    d = Network(
        down(channels, w, 2, 1), nn.LeakyReLU(0.2),
        down(w, 2 * w, 2, 1), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2),
        down(2 * w, 4 * w, 2, 1), nn.BatchNorm2d(4 * w), nn.LeakyReLU(0.2),
        down(4 * w, 1, 1, 0),
    )
    return g, d, (latent, 1, 1), (channels, 32, 32)


def lsgan112(width, latent, channels):
    w = width
    layers = [nn.Linear(latent, 7 * 7 * 4 * w), nn.Unflatten(1, (4 * w, 7, 7)), nn.BatchNorm2d(4 * w), nn.ReLU()]
    inputs = 4 * w
    for outputs, stride in [(4 * w, 2), (4 * w, 1), (4 * w, 2), (4 * w, 1), (2 * w, 2), (w, 2)]:
        layers += [
            nn.ConvTranspose2d(inputs, outputs, 3, stride, 1, output_padding=stride - 1),
            nn.BatchNorm2d(outputs), nn.ReLU(),
        ]
        inputs = outputs
    g = Network(*layers, nn.ConvTranspose2d(w, channels, 3, 1, 1), nn.Tanh())
    layers = [nn.Conv2d(channels, w, 5, 2, 2), nn.LeakyReLU(0.2)]
    for inputs in [w, 2 * w, 4 * w]:
        layers += [nn.Conv2d(inputs, 2 * inputs, 5, 2, 2), nn.BatchNorm2d(2 * inputs), nn.LeakyReLU(0.2)]
    d = Network(*layers, nn.Flatten(), nn.Linear(8 * w * 7 * 7, 1))
    return g, d, (latent,), (channels, 112, 112)


def start(network, random):
    """Weights with which signals keep their size, biases that are not zero."""
    for layer in network.main:
        for name, parameter in layer.named_parameters():
            noise = torch.randn(parameter.shape, generator=random)
            if isinstance(layer, nn.ConvTranspose2d) and name == "weight":
                fan_in = parameter[:, 0].numel() / layer.stride[0] ** 2
            else:
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
            base = 1.0 if isinstance(layer, nn.BatchNorm2d) and name == "weight" else 0.0
            with torch.no_grad():
                parameter.copy_(base + noise * fan_in**-0.5)


def half_mean_square(x, target):
    return 0.5 * ((x - target) ** 2).mean()


def inputs(case):
    """The samples (bytes) and the noise of every step."""
    random = torch.Generator().manual_seed(case["seed"])
    _, _, z_shape, sample_shape = case["networks"]()
    for _ in range(STEPS):
        pixels = torch.randint(0, 256, (case["batch"], *sample_shape), generator=random, dtype=torch.uint8)
        yield pixels, torch.randn((case["batch"], *z_shape), generator=random)


def train(case, dtype, memory_format=torch.contiguous_format):
    """Three steps; returns everything that the fixture holds, in f32, by name."""
    g, d, _, _ = case["networks"]()
    random = torch.Generator().manual_seed(case["seed"] + 1000)
    out = {}

    def keep(prefix, tensors):
        for key, tensor in tensors:
            tensor = tensor.detach().clone().contiguous()
            out[f"{prefix}.{key}"] = tensor.float() if tensor.is_floating_point() else tensor

    for network in (g, d):
        start(network, random)
        network.train().to(dtype).to(memory_format=memory_format)
    keep("initial.generator", g.state_dict().items())
    keep("initial.discriminator", d.state_dict().items())
    optimizers = {
        "generator": torch.optim.Adam(g.parameters(), **case["adam"]),
        "discriminator": torch.optim.Adam(d.parameters(), **case["adam"]),
    }
    average = {key: value.clone() for key, value in g.state_dict().items() if value.is_floating_point()}
    metrics = {"loss_d": [], "loss_g": [], "d_real": [], "d_fake": [], "d_fake_in_g": [], "fake_std": []}

    for step, (pixels, z) in enumerate(inputs(case)):
        keep(f"step.{step}", [("pixels", pixels), ("z", z)])
        real = (pixels.float() / 127.5 - 1.0).to(dtype).to(memory_format=memory_format)

        fake = g(z.to(dtype))
        on_real, on_fake = d(real).view(-1), d(fake.detach()).view(-1)
        loss_d = half_mean_square(on_real, case["b"]) + half_mean_square(on_fake, case["a"])
        optimizers["discriminator"].zero_grad()
        loss_d.backward()
        optimizers["discriminator"].step()

        statistics = {key: value.clone() for key, value in d.named_buffers()}
        for parameter in d.parameters():
            parameter.requires_grad_(False)
        on_fake_in_g = d(fake).view(-1)
        loss_g = half_mean_square(on_fake_in_g, case["c"])
        optimizers["generator"].zero_grad()
        loss_g.backward()
        optimizers["generator"].step()
        for parameter in d.parameters():
            parameter.requires_grad_(True)
        for key, value in d.named_buffers():
            value.copy_(statistics[key])

        for key, value in g.state_dict().items():
            if key in average:
                average[key].mul_(case["ema_decay"]).add_(value, alpha=1.0 - case["ema_decay"])
        said = dict(loss_d=loss_d, loss_g=loss_g, d_real=on_real.mean(), d_fake=on_fake.mean(),
                    d_fake_in_g=on_fake_in_g.mean(), fake_std=fake.std(dim=0, unbiased=False).mean())
        for key, value in said.items():
            metrics[key].append(value.detach())

    keep("metric", [(key, torch.stack(values)) for key, values in metrics.items()])
    keep("final.generator", g.state_dict().items())
    keep("final.discriminator", d.state_dict().items())
    keep("final.generator_ema", average.items())
    for which, network in [("generator", g), ("discriminator", d)]:
        for key, parameter in network.named_parameters():
            state = optimizers[which].state[parameter]
            keep(f"final.{which}_adam.{key}", [(moment, state[moment]) for moment in ("exp_avg", "exp_avg_sq")])
    return out


def group(key):
    """The flat vector that a tensor belongs to: a network's weights, statistics or moments, or all metrics."""
    kinds = ("running_mean", "running_var", "exp_avg_sq", "exp_avg")
    kind = next((kind for kind in kinds if key.endswith(kind)), "weights")
    return "metrics" if key.startswith("metric.") else f"{key.rsplit('.main.', 1)[0]}, {kind}"


def distance(found, wanted):
    """The largest error of a flat vector in shares of its norm, and the same for the single tensors in it.

    A tensor with less than a millionth of its vector's norm is no more than rounding errors: the moments of a
    bias before a batch norm."""
    norms, errors = {}, {}
    for key, exact in wanted.items():
        if exact.is_floating_point():
            for name in (group(key), key):
                error = (found[key].double() - exact.double()).square().sum()
                errors[name] = errors.get(name, 0.0) + error
                norms[name] = norms.get(name, 0.0) + exact.double().square().sum()
    share = {name: float((errors[name] / norms[name]).sqrt()) for name in norms if norms[name] > 0}
    flat = max((share[group(key)], group(key)) for key in wanted if group(key) in share)
    single = max(
        (share[key], key) for key in wanted if key in share and norms[key] > 1e-12 * norms[group(key)]
    )
    return flat, single


def golden(name, case):
    exact = train(case, torch.float64)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        distances = distance(train(case, torch.float32, memory_format), exact)
        for (share, key), tolerance in zip(distances, TOLERANCES):
            if share > tolerance / 2:
                raise SystemExit(f"{name}: {key} in f32, {memory_format}, is off by {share:.1e}; take another seed")
    about = {key: value for key, value in case.items() if key != "networks"}
    about.update(torch=torch.__version__, python=platform.python_version(), steps=STEPS)
    path = HERE / f"{name}.safetensors"
    save_file(exact, path, metadata={"about": json.dumps(about, sort_keys=True)})
    path.chmod(0o644)
    print(f"{path.name}: {path.stat().st_size} bytes, D's losses {exact['metric.loss_d'].tolist()}")


CASES = {
    "dcgan32": dict(
        networks=lambda: dcgan32(width=4, latent=16, channels=1), batch=8, seed=2,
        adam=dict(lr=2e-4, betas=[0.5, 0.999], eps=1e-8), a=-1.0, b=1.0, c=0.0, ema_decay=0.9,
    ),
    # A bias before a batch norm has no gradient but rounding errors, which an epsilon of 1e-8 would blow up to
    # whole steps; with 1e-3 they stay what they are.
    "lsgan112": dict(
        networks=lambda: lsgan112(width=2, latent=16, channels=3), batch=3, seed=2,
        adam=dict(lr=2e-4, betas=[0.5, 0.999], eps=1e-3), a=0.0, b=1.0, c=1.0, ema_decay=0.9,
    ),
}


def main():
    torch.set_num_threads(1)
    for name, case in CASES.items():
        golden(name, case)


if __name__ == "__main__":
    main()
