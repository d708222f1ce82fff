#!/usr/bin/env python3
"""Writes the golden numbers that crates/train/tests/it/golden.rs compares with: one step or more of real PyTorch.

    python -m venv .venv-peer && .venv-peer/bin/pip install torch==2.11.0 safetensors==0.8.0 numpy
    .venv-peer/bin/python tests/reference/make_golden.py [NAME …]

Each fixture holds, for one model: the initial state dicts, the samples and the noise of every step, the losses
and D's means of every step, and the state dicts, Adam's moments and the moving average of G after the last one.
The versions stand in the fixture's metadata. One thread, the CPU.

The numbers are computed in f64 and stored as f32. The same steps in f32, with both memory orders, must agree with
them to half of the test's tolerance, or nothing is written: a unit whose input is zero up to rounding would
make ReLU's gradient, and so the comparison, a matter of luck. The seeds are the first that have no such unit.

D is frozen in G's half, and its batch norms do not count G's fakes of that half, nor what a penalty on D's gradient
makes them compute: their running statistics are put back after it. Where D has several updates for each of G's, G's batch norms
count the batches of G's updates alone. Schedulers count the steps.
"""

import json
import pathlib
import platform
import sys

import torch
from safetensors.torch import save_file
from torch import nn

STEPS = 3
TOLERANCES = 1e-5, 1e-4  # of crates/train/tests/it/golden.rs: for flat vectors, for single tensors
HERE = pathlib.Path(__file__).resolve().parent


class Network(nn.Module):
    """As in PyTorch's DCGAN tutorial: a Sequential called main."""

    def __init__(self, *layers):
        super().__init__()
        self.main = nn.Sequential(*layers)

    def forward(self, x, told=None):
        for layer in self.main:
            x = layer(x, told) if isinstance(layer, Concatenate) else layer(x)
        return x


def dcgan(size, width, latent, channels, norm_in_d=True):
    def up(i, o, stride, padding):
        return nn.ConvTranspose2d(i, o, 4, stride, padding, bias=False)

    def down(i, o, stride, padding, bias=False):
        return nn.Conv2d(i, o, 4, stride, padding, bias=bias)

    def hidden(i, o):
        norm = [nn.BatchNorm2d(o)] if norm_in_d else []
        return [down(i, o, 2, 1, bias=not norm), *norm, nn.LeakyReLU(0.2)]

    doublings = size.bit_length() - 4  # between 4×4 pixels and half the side
    wide = [width << index for index in range(doublings + 1)]
    layers = [up(latent, wide[-1], 1, 0), nn.BatchNorm2d(wide[-1]), nn.ReLU()]
    for o, i in reversed(list(zip(wide, wide[1:]))):
        layers += [up(i, o, 2, 1), nn.BatchNorm2d(o), nn.ReLU()]
    g = Network(*layers, up(width, channels, 2, 1), nn.Tanh())
    layers = [down(channels, width, 2, 1), nn.LeakyReLU(0.2)]
    for i, o in zip(wide, wide[1:]):
        layers += hidden(i, o)
    d = Network(*layers, down(wide[-1], 1, 1, 0))
    return g, d, (latent, 1, 1), (channels, size, size)


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


class Residual(nn.Module):
    """block(x) + shortcut(x)."""

    def __init__(self, block, shortcut):
        super().__init__()
        self.block, self.shortcut = nn.Sequential(*block), nn.Sequential(*shortcut)

    def forward(self, x):
        return self.block(x) + self.shortcut(x)


def resnet(size, width, latent, channels):
    def block(i, o, before=(), behind=()):
        return Residual(
            [nn.BatchNorm2d(i), nn.ReLU(), *before, nn.Conv2d(i, o, 3, 1, 1, bias=False),
             nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, 1, 1), *behind],
            [*before, *behind, nn.Conv2d(i, o, 1)],
        )

    def up(i, o):
        return block(i, o, before=[nn.Upsample(scale_factor=2)])

    def down(i, o):
        return block(i, o, behind=[nn.AvgPool2d(2)])

    blocks = size.bit_length() - 3  # between 4×4 pixels and the side
    wide = [width << index for index in range(blocks)]
    wide.append(wide[-1])
    g = Network(
        nn.Linear(latent, 16 * wide[-1]), nn.Unflatten(1, (wide[-1], 4, 4)),
        *(up(i, o) for o, i in reversed(list(zip(wide, wide[1:])))),
        nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, channels, 3, 1, 1), nn.Tanh(),
    )
    d = Network(
        nn.Conv2d(channels, width, 3, 1, 1), *(down(i, o) for i, o in zip(wide, wide[1:])),
        nn.BatchNorm2d(wide[-1]), nn.ReLU(), nn.Flatten(), nn.Linear(16 * wide[-1], 1),
    )
    return g, d, (latent,), (channels, size, size)


class Embed(nn.Module):
    """Behind the first numbers an embedding of the others."""

    def __init__(self, kept, classes, outputs):
        super().__init__()
        self.kept, self.weight = kept, nn.Parameter(torch.empty(outputs, classes))

    def forward(self, x):
        return torch.cat([x[:, : self.kept], x[:, self.kept :] @ self.weight.T], 1)


class Concatenate(nn.Module):
    """Behind the channels an embedding of what the network is told, the same at every place."""

    def __init__(self, classes, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, classes))

    def forward(self, x, told):
        embedded = told @ self.weight.T
        return torch.cat([x, embedded[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)


def conditional(width, latent, channels, classes, embedding):
    """G reads z and the class; D says one more number for each class."""
    g, d, _, sample = dcgan(32, width, latent + embedding, channels, norm_in_d=False)
    g = Network(Embed(latent, classes, embedding), nn.Unflatten(1, (latent + embedding, 1, 1)), *g.main)
    d = Network(*d.main[:-1], nn.Conv2d(4 * width, 1 + classes, 4, 1, 0, bias=False))
    return g, d, (latent,), sample


def concatenating(width, latent, channels, classes, embedding):
    """G reads z and the class; D's last hidden layer reads an embedding of the class beside its features."""
    g, _, z_shape, sample = conditional(width, latent, channels, classes, embedding)
    _, d, _, _ = dcgan32(width, latent, channels, norm_in_d=False)
    hidden = nn.Conv2d(2 * width + embedding, 4 * width, 4, 2, 1)
    d = Network(*d.main[:4], Concatenate(classes, embedding), hidden, *d.main[5:])
    return g, d, z_shape, sample


def start(network, random):
    """Weights with which signals keep their size, biases that are not zero."""
    for layer in network.modules():
        for name, parameter in layer.named_parameters(recurse=False):
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


def least_squares(a, b, c):
    return lambda y: half_mean_square(y, b), lambda y: half_mean_square(y, a), lambda y: half_mean_square(y, c)


def hinge():
    return lambda y: torch.relu(1.0 - y).mean(), lambda y: torch.relu(1.0 + y).mean(), lambda y: -y.mean()


def wgan():
    return lambda y: -y.mean(), lambda y: y.mean(), lambda y: -y.mean()


def scheduler(optimizer, warm_up_steps, decay, decay_steps, floor):
    """PyTorch's own, of a warm-up and what comes behind it."""
    from torch.optim import lr_scheduler as schedulers

    rise = schedulers.LinearLR(optimizer, 1 / warm_up_steps, 1.0, max(warm_up_steps - 1, 1))
    if decay == "cosine":
        rate = optimizer.param_groups[0]["initial_lr"]
        fall = schedulers.CosineAnnealingLR(optimizer, decay_steps, eta_min=floor * rate)
    else:
        fall = schedulers.LinearLR(optimizer, 1.0, floor, decay_steps)
    return schedulers.SequentialLR(optimizer, [rise, fall], [warm_up_steps])


def r1(d, real, gamma):
    """γ/2 E[‖∇D(x)‖²] as the common implementations have it."""
    real = real.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)
    return gamma / 2 * slope.square().flatten(1).sum(1).mean()


def gradient_penalty(d, real, fake, share, weight):
    """λE[(‖∇D(x̂)‖ − 1)²]; `share`: of the real sample in each mixture."""
    mixed = (share.view(-1, 1, 1, 1) * real + (1 - share.view(-1, 1, 1, 1)) * fake).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
    return weight * ((slope.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


def augment(x, draws, translation, cutout):
    """DiffAugment's colour, translation and cutout, picture by picture; `draws`: seven uniform numbers for each."""
    side, out = x.shape[2], []
    for picture, u in zip(x, draws.tolist()):
        picture = picture + (u[0] - 0.5)
        grey = picture.mean(0, keepdim=True)
        picture = (picture - grey) * (2 * u[1]) + grey
        mean = picture.mean()
        picture = (picture - mean) * (u[2] + 0.5) + mean
        most = int(side * translation + 0.5)
        down, right = (int(one * (2 * most + 1)) for one in u[3:5])
        picture = nn.functional.pad(picture, [most] * 4)[:, down : down + side, right : right + side]
        size = int(side * cutout + 0.5)
        top, left = (int(one * (side + 1 - size % 2)) - size // 2 for one in u[5:7])
        mask = torch.ones_like(picture)
        mask[:, max(top, 0) : top + size, max(left, 0) : left + size] = 0
        out.append(picture * mask)
    return torch.stack(out)


def inputs(case):
    """The samples (bytes), the noise, the other draws, and the classes of samples and fakes of every step."""
    random = torch.Generator().manual_seed(case["seed"])
    _, _, z_shape, sample_shape = case["networks"]()
    for _ in range(case.get("steps", STEPS)):
        pixels = torch.randint(0, 256, (case["batch"], *sample_shape), generator=random, dtype=torch.uint8)
        z = torch.randn((case["batch"], *z_shape), generator=random)
        draws = torch.rand((case["batch"], 22), generator=random) if "augment" in case else None
        classes = None
        if "classes" in case:
            classes = torch.randint(0, case["classes"], (2, case["batch"]), generator=random)
        yield pixels, z, draws, classes


def train(case, dtype, memory_format=torch.contiguous_format):
    """All steps; returns everything that the fixture holds, in f32, by name."""
    g, d, _, _ = case["networks"]()
    random = torch.Generator().manual_seed(case["seed"] + 1000)
    out = {}

    def keep(prefix, tensors):
        for key, tensor in tensors:
            if key.endswith("weight_v"):
                continue  # it follows from u and the weight
            key = key.replace("weight_orig", "weight")
            tensor = tensor.detach().clone().contiguous()
            out[f"{prefix}.{key}"] = tensor.float() if tensor.is_floating_point() else tensor

    for network in (g, d):
        start(network, random)
        if network is d and case.get("spectral_norm"):
            torch.manual_seed(case["seed"])
            for layer in network.modules():
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    nn.utils.spectral_norm(layer)
        network.train().to(dtype).to(memory_format=memory_format)
    keep("initial.generator", g.state_dict().items())
    keep("initial.discriminator", d.state_dict().items())
    optimizers, schedulers = {}, []
    for name, network in [("generator", g), ("discriminator", d)]:
        kind, options = case["optimizers"][name]
        optimizers[name] = getattr(torch.optim, kind)(network.parameters(), **options)
        if "schedule" in case:
            schedulers.append(scheduler(optimizers[name], **case["schedule"]))
    kind, options = case["objective"]
    loss_of_real, loss_of_fake, loss_of_g = globals()[kind](**options)

    def update(name, network):
        if "clip_norm" in case:
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), case["clip_norm"])
            assert norm > case["clip_norm"], "the case clips"
        optimizers[name].step()

    average = {key: value.clone() for key, value in g.state_dict().items() if value.is_floating_point()}
    metrics = {"loss_d": [], "loss_g": [], "d_real": [], "d_fake": [], "d_fake_in_g": [], "fake_std": []}

    for step, (pixels, z, draws, classes) in enumerate(inputs(case)):
        keep(f"step.{step}", [("pixels", pixels), ("z", z)])
        z = z.to(dtype)
        if classes is not None:
            keep(f"step.{step}", [("classes", classes[0].float()), ("fake_classes", classes[1].float())])
            one_hot = nn.functional.one_hot(classes, case["classes"]).to(dtype)
            z = torch.cat([z, one_hot[1]], 1)

        def judge(x, told=0):
            """D's numbers; by projection those of the sample's own class are added. `told`: 0 for real samples, 1 for fakes."""
            outputs = d(x, None if classes is None else one_hot[told]).view(len(x), -1)
            if classes is None or outputs.shape[1] == 1:
                return outputs.view(-1)
            return outputs[:, 0] + (outputs[:, 1:] * one_hot[told]).sum(1)

        def seen(x, which):
            if draws is None:
                return x
            return augment(x, draws[:, 7 * which : 7 * which + 7], **case["augment"])

        if draws is not None:
            keep(f"step.{step}", [("draws", draws)])
        real = (pixels.float() / 127.5 - 1.0).to(dtype).to(memory_format=memory_format)

        updates_g = (step + 1) % case.get("discriminator_steps", 1) == 0
        statistics = {key: value.clone() for key, value in g.named_buffers()}
        fake = g(z)
        if not updates_g:
            for key, value in g.named_buffers():
                value.copy_(statistics[key])
        seen_real, seen_fake = seen(real, 0), seen(fake.detach(), 1)
        on_real, on_fake = judge(seen_real), judge(seen_fake, 1)
        loss_d = loss_of_real(on_real) + loss_of_fake(on_fake)
        statistics = {key: value.clone() for key, value in d.named_buffers()}
        optimizers["discriminator"].zero_grad()
        loss_d.backward()
        if "r1" in case and step % case["r1"]["every"] == 0:
            (r1(judge, real, case["r1"]["gamma"]) * case["r1"]["every"]).backward()
        if "gradient_penalty" in case:
            gradient_penalty(judge, seen_real, seen_fake, draws[:, 21].to(dtype), case["gradient_penalty"]).backward()
        update("discriminator", d)
        said = dict(loss_d=loss_d, d_real=on_real.mean(), d_fake=on_fake.mean())
        for key, value in said.items():
            metrics[key].append(value.detach())
        if not updates_g:
            for key, value in d.named_buffers():
                value.copy_(statistics[key])
            for one in schedulers:
                one.step()
            continue

        for parameter in d.parameters():
            parameter.requires_grad_(False)
        on_fake_in_g = judge(seen(fake, 2), 1)
        loss_g = loss_of_g(on_fake_in_g)
        optimizers["generator"].zero_grad()
        loss_g.backward()
        update("generator", g)
        for one in schedulers:
            one.step()
        for parameter in d.parameters():
            parameter.requires_grad_(True)
        for key, value in d.named_buffers():
            value.copy_(statistics[key])

        for key, value in g.state_dict().items():
            if key in average:
                average[key].mul_(case["ema_decay"]).add_(value, alpha=1.0 - case["ema_decay"])
        said = dict(loss_g=loss_g, d_fake_in_g=on_fake_in_g.mean(), fake_std=fake.std(dim=0, unbiased=False).mean())
        for key, value in said.items():
            metrics[key].append(value.detach())

    keep("metric", [(key, torch.stack(values)) for key, values in metrics.items()])
    keep("final.generator", g.state_dict().items())
    keep("final.discriminator", d.state_dict().items())
    keep("final.generator_ema", average.items())
    for which, network in [("generator", g), ("discriminator", d)]:
        for key, parameter in network.named_parameters():
            state = optimizers[which].state[parameter]
            of = "rmsprop" if "square_avg" in state else "adam"
            moments = [(moment, value) for moment, value in state.items() if moment != "step"]
            if of == "rmsprop" and "momentum_buffer" not in state:
                # Ours is the last update: without momentum the gradient over its root.
                moments.append(("momentum_buffer", parameter.grad / (state["square_avg"].sqrt() + case["optimizers"][which][1]["eps"])))
            keep(f"final.{which}_{of}.{key.replace('weight_orig', 'weight')}", moments)
    return out


def group(key):
    """The flat vector that a tensor belongs to: a network's weights, statistics or moments, or all metrics."""
    kinds = ("running_mean", "running_var", "exp_avg_sq", "exp_avg", "square_avg", "momentum_buffer", "weight_u")
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
    about.update(torch=torch.__version__, python=platform.python_version(), steps=case.get("steps", STEPS))
    path = HERE / f"{name}.safetensors"
    save_file(exact, path, metadata={"about": json.dumps(about, sort_keys=True)})
    path.chmod(0o644)
    print(f"{path.name}: {path.stat().st_size} bytes, D's losses {exact['metric.loss_d'].tolist()}")


def both(kind, **options):
    return {"generator": (kind, options), "discriminator": (kind, options)}


CASES = {
    "dcgan32": dict(
        networks=lambda: dcgan(32, width=4, latent=16, channels=1), batch=8, seed=2,
        optimizers=both("Adam", lr=2e-4, betas=[0.5, 0.999], eps=1e-8),
        objective=("least_squares", dict(a=-1.0, b=1.0, c=0.0)), ema_decay=0.9,
    ),
    # A bias before a batch norm has no gradient but rounding errors, which an epsilon of 1e-8 would blow up to
    # whole steps; with 1e-3 they stay what they are.
    "lsgan112": dict(
        networks=lambda: lsgan112(width=2, latent=16, channels=3), batch=3, seed=2,
        optimizers=both("Adam", lr=2e-4, betas=[0.5, 0.999], eps=1e-3),
        objective=("least_squares", dict(a=0.0, b=1.0, c=1.0)), ema_decay=0.9,
    ),
    "resnet32": dict(
        networks=lambda: resnet(32, width=4, latent=8, channels=3), batch=4, seed=3,
        optimizers=both("Adam", lr=2e-4, betas=[0.0, 0.9], eps=1e-3),
        objective=("hinge", {}), ema_decay=0.9,
    ),
    "resnet64": dict(
        networks=lambda: resnet(64, width=2, latent=8, channels=3), batch=2, seed=4, steps=1,
        optimizers=both("Adam", lr=2e-4, betas=[0.0, 0.9], eps=1e-3),
        objective=("hinge", {}), ema_decay=0.9,
    ),
    "dcgan256": dict(
        networks=lambda: dcgan(256, width=1, latent=8, channels=3), batch=2, seed=3,
        optimizers=both("Adam", lr=2e-4, betas=[0.5, 0.999], eps=1e-3),
        objective=("least_squares", dict(a=0.0, b=1.0, c=1.0)), ema_decay=0.9,
    ),
    "conditional": dict(
        networks=lambda: conditional(width=4, latent=16, channels=1, classes=3, embedding=5), batch=8, seed=2,
        optimizers=both("Adam", lr=2e-4, betas=[0.5, 0.999], eps=1e-8),
        objective=("least_squares", dict(a=-1.0, b=1.0, c=0.0)), ema_decay=0.9, classes=3, r1=dict(gamma=0.5, every=1),
    ),
    "concatenation": dict(
        networks=lambda: concatenating(width=4, latent=16, channels=1, classes=3, embedding=5), batch=8, seed=2,
        optimizers=both("Adam", lr=2e-4, betas=[0.5, 0.999], eps=1e-8),
        objective=("least_squares", dict(a=-1.0, b=1.0, c=0.0)), ema_decay=0.9, classes=3, r1=dict(gamma=0.5, every=1),
    ),
    "adamw-r1": dict(
        networks=lambda: dcgan(32, width=4, latent=16, channels=1), batch=8, seed=2,
        optimizers=both("AdamW", lr=1e-3, betas=[0.5, 0.999], eps=1e-8, weight_decay=0.1),
        objective=("hinge", {}), ema_decay=0.9, r1=dict(gamma=0.5, every=2),
        schedule=dict(warm_up_steps=2, decay="cosine", decay_steps=4, floor=0.1),
    ),
    # G is updated at steps 1 and 3.
    "discriminator-steps": dict(
        networks=lambda: dcgan(32, width=4, latent=16, channels=1), batch=8, seed=2, steps=5, discriminator_steps=2,
        optimizers=both("Adam", lr=2e-4, betas=[0.5, 0.999], eps=1e-8),
        objective=("least_squares", dict(a=-1.0, b=1.0, c=0.0)), ema_decay=0.9, r1=dict(gamma=0.5, every=3),
        schedule=dict(warm_up_steps=2, decay="linear", decay_steps=4, floor=0.0),
    ),
    "wgan-gp-augment": dict(
        networks=lambda: dcgan(32, width=4, latent=16, channels=3, norm_in_d=False), batch=4, seed=2,
        optimizers=both("Adam", lr=2e-4, betas=[0.0, 0.9], eps=1e-8),
        objective=("wgan", {}), ema_decay=0.9, gradient_penalty=10.0, augment=dict(translation=0.125, cutout=0.5),
    ),
    "spectral-norm": dict(
        networks=lambda: dcgan(32, width=4, latent=16, channels=1, norm_in_d=False), batch=8, seed=2,
        optimizers=both("Adam", lr=2e-4, betas=[0.0, 0.9], eps=1e-8),
        objective=("hinge", {}), ema_decay=0.9, spectral_norm=True,
    ),
    # An update of RMSProp is a gradient over its own size, so that an element whose gradient is as small as its rounding
    # errors would be all luck; a large epsilon makes such elements small.
    "rmsprop-clip": dict(
        networks=lambda: dcgan(32, width=4, latent=16, channels=1), batch=8, seed=2,
        optimizers={
            "generator": ("RMSprop", dict(lr=1e-3, alpha=0.9, eps=1e-3, momentum=0.5)),
            "discriminator": ("RMSprop", dict(lr=1e-3, alpha=0.99, eps=1e-3)),
        },
        objective=("least_squares", dict(a=-1.0, b=1.0, c=0.0)), ema_decay=0.9, clip_norm=0.1,
        schedule=dict(warm_up_steps=1, decay="linear", decay_steps=4, floor=0.0),
    ),
}


def main():
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        golden(name, CASES[name])


if __name__ == "__main__":
    main()
