#!/usr/bin/env python3
"""torch-fidelity's scores of a trained G against pictures in a folder, with the network of our extractor `clothes`.

    .venv-peer/bin/python bench/fidelity_peer.py runs/quickstart/final PICTURES 5000 in-parts|at-once

Prints a line of JSON: the scores, and the seconds that they took. On one thread, as our side; `at-once` reads the pictures in four other
processes, as torch-fidelity does by default.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch_fidelity
from safetensors.torch import load_file
from torch.nn import functional as F
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.generative_model_modulewrapper import GenerativeModelModuleWrapper

from ddp_peer import LATENT, MODELS, make_generator

WEIGHTS = Path(__file__).resolve().parent.parent / "crates/evaluate/weights/clothes.safetensors"


class Clothes(FeatureExtractorBase):
    """scripts/make-fashion-mnist-extractor."""

    def __init__(self, name, features_list, **_):
        super().__init__(name, features_list)
        self.weights = load_file(WEIGHTS)

    @staticmethod
    def get_provided_features_list():
        return ("128",)

    @staticmethod
    def get_default_feature_layer_for_metric(_metric):
        return "128"

    @staticmethod
    def can_be_compiled():
        return False

    def forward(self, x):
        # Grey pictures come with three equal channels.
        x = x[:, :1].float()
        if x.shape[3] == 28:
            x = F.pad(x, (2, 2, 2, 2))
        x = x / 127.5 - 1
        for layer in (1, 2, 3):
            x = F.relu(F.conv2d(x, self.weights[f"conv{layer}.weight"], self.weights[f"conv{layer}.bias"], padding=1))
            x = F.max_pool2d(x, 2) if layer < 3 else x.mean((2, 3))
        return (x,)


class Samples(torch.nn.Module):
    """Of latents [n, z] the bytes [n, 3, h, w]."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, z):
        x = self.generator(z[:, :, None, None])
        return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).expand(-1, 3, -1, -1)


def main():
    final, pictures, samples, way = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    generator = make_generator(MODELS["dcgan32"])
    weights = load_file(final / "generator_ema.safetensors")
    generator.load_state_dict({name.removeprefix("main."): tensor for name, tensor in weights.items()})
    torch_fidelity.register_feature_extractor("clothes", Clothes)
    began = time.monotonic()
    found = torch_fidelity.calculate_metrics(
        input1=GenerativeModelModuleWrapper(Samples(generator), LATENT, "normal", 0),
        input1_model_num_samples=samples,
        input2=pictures,
        samples_find_deep=True,
        feature_extractor="clothes",
        fid=True,
        kid=True,
        prc=True,
        cuda=False,
        batch_size=64,
        save_cpu_ram=way == "in-parts",
        cache=False,
        verbose=False,
    )
    scores = {name: float(value) for name, value in found.items()}
    print(json.dumps({"event": "score", "seconds": time.monotonic() - began, "scores": scores}))


if __name__ == "__main__":
    main()
