# positions.py - the places of kept tokens: closed up, or as if none were gone
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python positions.py CHECKPOINT... [--count N] [--seed S]
# HiRED's tokens at some budgets, and which share of the answers' tokens a
# checkpoint of train-text.py, or a folder, gets right, each given those before it: with
# positions 0, 1, 2 ... over what is left, as HiRED and this engine have them, and
# with the positions that the tokens had in the whole prompt.
import argparse
import importlib

import numpy as np
import torch
from torch import nn

import language
import load
import nets
import scenes
import selection

train = importlib.import_module("train-text")
SHARES = (0.1, 0.2, 0.4, 1)
BATCH = 8


def networks(path):
    """The encoder and the language model of a checkpoint."""
    states = load.checkpoint(path)
    text = nets.Text(language.vocab_size(), nets.VISION["width"])
    text.load_state_dict(states["model"])
    return load.encoder(states), text.eval()


def draw(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        w, h, things = scenes.sparse(rng)
        pixels, grid, _ = scenes.tiles(scenes.draw(rng, w, h, things)[0])
        yield pixels, w, h, grid, things


@torch.no_grad()
def encode(vision, drawn):
    pool = train.Pool.__new__(train.Pool)  # its encoder, without its drawing process
    pool.vision = vision
    return [item for i in range(0, len(drawn), BATCH) for item in pool.encoded(drawn[i:i + BATCH])]


def choose(item, share, kept):
    """What is left of a picture, and where."""
    where = item["w"], item["h"], *item["grid"]
    whole = selection.stock(*where)
    if share == 1:
        return selection.closed_up(whole)
    order = selection.hired(*where, item["first"], item["last"], share, 0.5)
    return selection.in_place(order, whole, False) if kept else selection.closed_up(order)


@torch.no_grad()
def score(text, items, share, kept):
    coder, right, n = language.Coder(), 0, 0
    where = nn.Linear(nets.TEXT["width"], 6)  # for its loss, which nobody reads
    for i in range(0, len(items), BATCH):
        chunk = items[i:i + BATCH]
        batcher = train.Batcher(coder, np.random.default_rng(i))
        batch = batcher.pack(batcher.rows(chunk, "all", lambda item: choose(item, share, kept)))
        logits, labels, _ = train.forward(text, where, batch)
        right += (logits.argmax(-1) == labels).sum().item()
        n += len(labels)
    return right / n


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoints", nargs="+")
    ap.add_argument("--count", type=int, default=96)
    ap.add_argument("--seed", type=int, default=5)
    a = ap.parse_args()
    drawn = list(draw(a.count, a.seed))
    for path in a.checkpoints:
        vision, text = networks(path)
        items = encode(vision, drawn)
        for share in SHARES:
            print(f"{path} {share:g}: closed up {score(text, items, share, False):.4f}, "
                  f"kept {score(text, items, share, True):.4f}", flush=True)


if __name__ == "__main__":
    main()
