#!/usr/bin/env python3
"""How far what a trained G makes is from the data: the sliced Wasserstein-1 distance, 0 for equal distributions.

    .venv-peer/bin/python bench/score_peer.py quickstart runs/quickstart/final
    .venv-peer/bin/python bench/score_peer.py ring target/bench/run/final

Both sides are projected onto the same random directions and sorted; the score is the mean distance of the sorted numbers.
4,096 samples a side. G is run with its running statistics. Prints a line of JSON.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from ddp_peer import MODELS, TOY_LATENT, LATENT, make_generator, make_sampler, make_toy_generator, make_toy_sampler

SAMPLES, DIRECTIONS = 4096, 512


def main():
    kind, folder = sys.argv[1], Path(sys.argv[2])
    torch.manual_seed(7)
    if kind == "ring":
        # The paper's toy is drawn with the trained weights, pictures with their moving average.
        generator, file = make_toy_generator(MODELS["mlp"]), "generator"
        real, z = make_toy_sampler(SAMPLES)(), torch.randn(SAMPLES, TOY_LATENT)
    else:
        generator, file = make_generator(MODELS["dcgan32"]), "generator_ema"
        real = make_sampler(MODELS["dcgan32"], SAMPLES, torch.contiguous_format)()
        z = torch.randn(SAMPLES, LATENT, 1, 1)
    weights = load_file(folder / f"{file}.safetensors")
    generator.load_state_dict({name.removeprefix("main."): tensor for name, tensor in weights.items()})
    generator.eval()
    with torch.no_grad():
        fake = generator(z).flatten(1)
    real = real.flatten(1)
    directions = torch.nn.functional.normalize(torch.randn(real.shape[1], DIRECTIONS), dim=0)
    sides = [(side @ directions).sort(dim=0).values for side in (real, fake)]
    print(json.dumps({"event": "score", "score": float((sides[0] - sides[1]).abs().mean())}))


if __name__ == "__main__":
    main()
