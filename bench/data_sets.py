#!/usr/bin/env python3
"""Writes the data sets that `bench/data.py` reads, with writers that are not ours: py-lmdb, PIL, webdataset.

    .venv-peer/bin/python bench/data_sets.py DIR

- `bedroom_train_lmdb`: 2,000 JPEG pictures of 256 pixels on the shorter side, quality 75, in an LMDB folder as LSUN's
  are; pieces of the four photographs in the data crate's fixtures, each of another place and size. Two of three are of
  the one that has much detail, so that a record has LSUN's 15 KB in the mean.
- `packed/train-000000.tar` ...: the same at 64x64 pixels, as the webdataset library packs them.
- `large_train_lmdb`: as many records as LSUN's bedrooms, each a tiny picture.

What is there already, whole, is left alone.
"""

import hashlib
import io
import os
import random
import shutil
import sys
from pathlib import Path

import lmdb
import webdataset
from PIL import Image

PHOTOS = Path(__file__).resolve().parent.parent / "crates/data/tests/fixtures/photos"
PICTURES = 2_000
# Of LSUN's bedroom_train.
LARGE_RECORDS = 3_033_042
SHARD_RECORDS = 500


def encoded(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def pieces():
    """Pictures of 341x256 and 256x341 pixels, always the same ones."""
    rng = random.Random(1)
    paths = sorted(PHOTOS.glob("*.jpg"), key=lambda path: path.stat().st_size)
    *plain, detailed = [Image.open(path).convert("RGB") for path in paths]
    for number in range(PICTURES):
        photo = plain[number // 3 % len(plain)] if number % 3 == 0 else detailed
        width, height = rng.choice([(341, 256), (256, 341)])
        scale = rng.uniform(0.6, 1.0) * min(photo.width / width, photo.height / height)
        w, h = int(width * scale), int(height * scale)
        x, y = rng.randrange(photo.width - w + 1), rng.randrange(photo.height - h + 1)
        yield photo.crop((x, y, x + w, y + h)).resize((width, height), Image.LANCZOS)


def key(number):
    return hashlib.sha1(str(number).encode()).hexdigest().encode()


def write_lmdb(folder, records, map_size):
    """`records`: (key, value) in the order of keys."""
    environment = lmdb.open(str(folder), map_size=map_size, sync=False)
    batch = []
    for record in records:
        batch.append(record)
        if len(batch) == 100_000:
            put(environment, batch)
    put(environment, batch)
    environment.sync(True)
    environment.close()
    (folder / "lock.mdb").unlink()


def put(environment, batch):
    with environment.begin(write=True) as transaction:
        transaction.cursor().putmulti(batch, append=True)
    batch.clear()


def bedroom(folder):
    encodings = (encoded(piece, "JPEG", quality=75) for piece in pieces())
    write_lmdb(folder, sorted((key(number), value) for number, value in enumerate(encodings)), 1 << 30)


def packed(folder):
    folder.mkdir()
    with webdataset.ShardWriter(str(folder / "train-%06d.tar"), maxcount=SHARD_RECORDS, verbose=0) as shards:
        for number, piece in enumerate(pieces()):
            small = piece.resize((64, 64), Image.BILINEAR)
            shards.write({"__key__": f"{number:06}", "jpg": encoded(small, "JPEG", quality=95)})


def large(folder):
    rng = random.Random(1)
    colours = [tuple(rng.randrange(256) for _ in range(3)) for _ in range(64)]
    values = [encoded(Image.new("RGB", (8, 8), colour), "WEBP") for colour in colours]
    keys = sorted(key(number) for number in range(LARGE_RECORDS))
    write_lmdb(folder, ((k, values[number % len(values)]) for number, k in enumerate(keys)), 1 << 34)


def main():
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, write in [("bedroom_train_lmdb", bedroom), ("packed", packed), ("large_train_lmdb", large)]:
        if not (directory / name).exists():
            print(f"writing {directory / name} ...", file=sys.stderr)
            new = directory / f"{name}.new"
            shutil.rmtree(new, ignore_errors=True)
            write(new)
            os.rename(new, directory / name)


if __name__ == "__main__":
    main()
