# train-encoder.py - stage 1: the encoder learns to see, tile by tile
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python train-encoder.py --out DIR --minutes M [--threads 2] [--seed 1]
# Linear heads on the features name each patch's shape, colour, letter, row and
# column; heads on the class token name what the tile holds, which is what gives
# HiRED something to read. Goes on from DIR/encoder.pt if that is there. The
# learning rate follows the clock, so that it has come down when time is up.
import argparse
import math
import multiprocessing as mp
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import muon
import nets
import scenes

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
        self.rng = np.random.default_rng(seed)
        self.batches = 0

    def add(self, chunk):
        if self.parts is None:
            self.parts = [np.zeros((N_TILES,) + c.shape[1:], c.dtype) for c in chunk]
        idx = (self.at + np.arange(len(chunk[0]))) % N_TILES
        for mine, c in zip(self.parts, chunk):
            mine[idx] = c
        self.at = (self.at + len(idx)) % N_TILES
        self.n = min(self.n + len(idx), N_TILES)

    def batch(self, size):
        self.batches += 1  # drawing may take an eighth of the machine, no more
        while self.n < 1500 or (self.batches % 5 == 0 and not self.queue.empty()):
            self.add(self.queue.get())
            if self.n >= 1500:
                break
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


def rate(progress, step, peak):
    return peak * min(1, (step + 1) / 200) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(progress, 1))))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", required=True)
    ap.add_argument("--minutes", type=float, default=35)
    ap.add_argument("--batch", type=int, default=64)
    ap.add_argument("--rate", type=float, default=3e-3)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    vision = nets.Vision()
    heads = Heads(nets.VISION["width"])
    both = nn.ModuleDict({"vision": vision, "heads": heads})
    opt = muon.Both(both, vision.layers, nets.vision_parts, a.rate)
    path = os.path.join(a.out, "encoder.pt")
    step, before = 0, 0.0
    if os.path.exists(path):
        state = torch.load(path, weights_only=False)
        both.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        step, before = state["step"], state["seconds"]
    pool = Pool(a.seed + 1000 * (step + 1))
    start = saved = shown = time.time()
    mean, since = {}, 0

    def save():
        torch.save({"model": both.state_dict(), "opt": opt.state_dict(), "step": step,
                    "seconds": before + time.time() - start}, path + ".new")
        os.replace(path + ".new", path)

    while True:
        seconds = before + time.time() - start
        if seconds > a.minutes * 60:
            break
        lr = rate(seconds / (a.minutes * 60), step, a.rate)
        tiles, *labels = pool.batch(a.batch)
        loss, parts = losses(heads, vision(tiles), *labels)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        opt.step(lr)
        step += 1
        since += 1
        for k, v in {**parts, "loss": loss.item()}.items():
            if not math.isnan(v):
                mean[k] = mean.get(k, v) * 0.98 + v * 0.02
        if step % 100 == 0:
            now = time.time()
            print(f"step {step} {seconds / 60:.1f} min lr {lr:.5f} {since * a.batch / (now - shown):.0f} tiles/s "
                  + " ".join(f"{k} {v:.3f}" for k, v in mean.items()), flush=True)
            shown, since = now, 0
        if time.time() - saved > 120:
            save()
            saved = time.time()
    save()
    print("done", step, flush=True)


if __name__ == "__main__":
    main()
