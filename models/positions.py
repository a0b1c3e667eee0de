# positions.py - the places of kept tokens: closed up, or as if none were gone
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python positions.py text.pt... [--count N] [--seed S]
# HiRED's tokens at some budgets, and which share of the answers' tokens a
# checkpoint of train-text.py gets right, each given those before it: with
# positions 0, 1, 2 ... over what is left, as HiRED and this engine have them, and
# with the positions that the tokens had in the whole prompt.
import argparse
import importlib

import numpy as np
import torch
from torch import nn

import language
import nets
import scenes
import selection

train = importlib.import_module("train-text")
SHARES = (0.1, 0.2, 0.4, 1)
BATCH = 8


def load(path):
    """The encoder and the language model of a checkpoint."""
    state = torch.load(path, weights_only=False)
    vision = nets.Vision()
    vision.load_state_dict(state["encoder"])
    text = nets.Text(language.vocab_size(), nets.VISION["width"])
    text.load_state_dict(state["model"])
    return vision.eval(), text.eval()


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


def choose(item, share):
    """(kept tokens, all of them)."""
    where = item["w"], item["h"], *item["grid"]
    stock = selection.stock(*where)
    if share == 1:
        return stock, stock
    return selection.hired(*where, item["first"], item["last"], share, 0.5), stock


def keep_positions(pos, head, order, stock):
    """Of one row of a batch: kept tokens where `stock` has them, the rest behind."""
    place = {token: i for i, token in enumerate(stock)}
    n = len(order)
    pos[head + n:] += len(stock) - n
    if len(stock) > n:
        pos[head:head + n] = head + torch.tensor([place[token] for token in order])


@torch.no_grad()
def score(text, items, share, kept):
    coder, right, n = language.Coder(), 0, 0
    where = nn.Linear(nets.TEXT["width"], 6)  # for its loss, which nobody reads
    for i in range(0, len(items), BATCH):
        chunk = items[i:i + BATCH]
        batcher = train.Batcher(coder, np.random.default_rng(i))
        chosen = {id(item): choose(item, share) for item in chunk}
        batch = batcher.pack(batcher.rows(chunk, "all", lambda item: chosen[id(item)][0]))
        for row, item in enumerate(chunk if kept else ()):
            keep_positions(batch[1][row], len(coder.head), *chosen[id(item)])
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
        vision, text = load(path)
        items = encode(vision, drawn)
        for share in SHARES:
            print(f"{path} {share:g}: closed up {score(text, items, share, False):.4f}, "
                  f"kept {score(text, items, share, True):.4f}", flush=True)


if __name__ == "__main__":
    main()
