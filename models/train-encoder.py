# train-encoder.py - stage 1: the encoder learns to see, tile by tile
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python train-encoder.py --out DIR --minutes M [--threads 2] [--seed 1]
# Linear heads on the features name each patch's shape, colour, letter, row and
# column; heads on the class token name what the tile holds, which is what gives
# HiRED something to read. Goes on from DIR/encoder.pt if that is there. The
# learning rate follows the clock, so that it has come down when time is up.
import multiprocessing as mp
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import muon
import nets
import scenes
import session

ORDERS = 9  # none; first to fourth letter, not the last or the last
N_TILES = 24000  # tiles kept for drawing batches from


def produce(queue, seed):
    os.nice(3)
    rng = np.random.default_rng(seed)
    while True:
        queue.put([np.concatenate(parts) for parts in zip(*(scenes.labelled(rng) for _ in range(16)))])


class Pool:
    """The newest N_TILES labelled tiles; batches are drawn with repetition."""

    def __init__(self, seed):
        self.queue = mp.Queue(8)
        self.worker = mp.Process(target=produce, args=(self.queue, seed), daemon=True)
        self.worker.start()
        self.parts, self.n, self.at = None, 0, 0
        self.made = self.used = 0
        self.rng = np.random.default_rng(seed)

    def add(self, chunk):
        if self.parts is None:
            self.parts = [np.zeros((N_TILES,) + c.shape[1:], c.dtype) for c in chunk]
        idx = (self.at + np.arange(len(chunk[0]))) % N_TILES
        for mine, c in zip(self.parts, chunk):
            mine[idx] = c
        self.at = (self.at + len(idx)) % N_TILES
        self.n = min(self.n + len(idx), N_TILES)
        self.made += len(idx)

    def batch(self, size):
        """Each tile is drawn about once: with four draws, letters were learned
        by heart (0.95 right here, 0.84 on new tiles)."""
        while self.n < 1500 or (self.made < self.used and not self.queue.empty()):
            self.add(self.queue.get())
        self.used += size
        idx = self.rng.integers(0, self.n, size)
        return [torch.from_numpy(p[idx]) for p in self.parts]


class Heads(nn.Module):
    def __init__(self, width):
        super().__init__()
        sizes = [1 + len(scenes.KINDS), 1 + len(scenes.COLOURS), 1 + len(scenes.CHARS), ORDERS,
                 scenes.SIDE, scenes.SIDE]
        self.sizes = sizes
        self.norm, self.cls_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.patch = nn.Linear(width, sum(sizes))
        self.cls = nn.Linear(width, 40 + len(scenes.CHARS))
        nn.init.constant_(self.cls.bias, -2.5)

    def forward(self, x):
        return self.patch(self.norm(x[:, 1:])).split(self.sizes, -1), self.cls(self.cls_norm(x[:, 0]))


def losses(heads, x, kind, colour, char, order, holds):
    (k, c, l, o, row, col), cls = heads(x)
    n = torch.arange(scenes.SIDE ** 2)
    total, parts = 0, {}
    for name, logit, label in (("shape", k, kind), ("colour", c, colour), ("char", l, char), ("order", o, order)):
        weight = torch.where(label > 0, 1.0, 0.15)
        ce = F.cross_entropy(logit.flatten(0, 1), label.flatten(), reduction="none")
        total = total + (ce * weight.flatten()).sum() / weight.sum()
        seen = label > 0
        parts[name] = (logit.argmax(-1)[seen] == label[seen]).float().mean().item()
    for logit, label in ((row, n // scenes.SIDE), (col, n % scenes.SIDE)):
        total = total + 0.3 * F.cross_entropy(logit.flatten(0, 1), label.repeat(len(x)))
    total = total + 4 * F.binary_cross_entropy_with_logits(cls, holds)
    seen = holds > 0.5
    parts["recall"] = (cls[seen] > 0).float().mean().item()
    parts["false"] = (cls[~seen] > 0).float().mean().item()
    return total, parts


def main():
    a = session.arguments(minutes=75, batch=64, rate=3e-3, seed=1).parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    vision = nets.Vision()
    heads = Heads(nets.VISION["width"])
    both = nn.ModuleDict({"vision": vision, "heads": heads})
    opt = muon.Both(both, vision.layers, nets.vision_parts, a.rate)
    run = session.Session(a, "encoder.pt", {"model": both, "opt": opt}, "tiles")
    pool = Pool(a.seed + 1000 * (run.step + 1))
    while run.progress() <= 1:
        lr = run.rate(warm=200, floor=0.03)
        tiles, *labels = pool.batch(a.batch)
        loss, parts = losses(heads, vision(tiles), *labels)
        opt.descend(loss, lr)
        run.stepped(lr, len(tiles), {**parts, "loss": loss.item()}, keep=0.98)
    run.finish()


if __name__ == "__main__":
    main()
