#!/usr/bin/env python3
"""PyTorch's side of the data benchmark: loads pictures on one core and prints one line of JSON.

    .venv-peer/bin/python bench/loader_peer.py lsun DIR SECONDS          torchvision.datasets.LSUN, random order
    .venv-peer/bin/python bench/loader_peer.py webdataset DIR SECONDS    the webdataset library, PIL or `torchrgb`
    .venv-peer/bin/python bench/loader_peer.py open DIR                  opening 3 M records with the cache it made

Without worker processes: what passes between processes would count against it.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
import webdataset
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.datasets.lsun import LSUNClass

BATCH = 64
SIZE = 64
NORMALIZE = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def rate(loader, seconds):
    """Images a second after the first batch, over as many epochs as it takes."""
    images, started = 0, None
    while True:
        for batch in loader:
            if started is None:
                started = time.monotonic()
                continue
            images += len(batch[0])
            if time.monotonic() - started >= seconds:
                return images / (time.monotonic() - started)


def lsun(directory, seconds):
    transform = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.ToTensor(), NORMALIZE])
    data = datasets.LSUN(directory, classes=["bedroom_train"], transform=transform)
    return {"lsun": rate(DataLoader(data, BATCH, shuffle=True), seconds)}


def packed(directory, seconds):
    shards = sorted(str(path) for path in (Path(directory) / "packed").glob("*.tar"))
    found = {}
    for decode, transform in [
        ("pil", transforms.Compose([transforms.ToTensor(), NORMALIZE])),
        ("torchrgb", NORMALIZE),
    ]:
        data = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).decode(decode).to_tuple("jpg")
        found[decode] = rate(DataLoader(data.map_tuple(transform).batched(BATCH), batch_size=None), seconds)
    return found


def opened(directory):
    """What it does at each start once its cache is there: the list of all keys, unpickled."""
    begin = time.monotonic()
    data = LSUNClass(os.path.join(directory, "large_train_lmdb"))
    return {"open_s": time.monotonic() - begin, "records": len(data)}


def main():
    torch.set_num_threads(1)
    kind, directory = sys.argv[1], os.path.abspath(sys.argv[2])
    # torchvision keeps its cache in the directory that it is started in.
    os.chdir(directory)
    if kind == "open":
        print(json.dumps(opened(directory)))
    else:
        print(json.dumps({"lsun": lsun, "webdataset": packed}[kind](directory, float(sys.argv[3]))))


if __name__ == "__main__":
    main()
