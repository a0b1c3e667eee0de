# session.py - a training run that can be cut short and goes on later
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Its clock is that of all the runs that went before together: --minutes is the
# total, and learning rate and mixtures follow `progress`, its share that is gone.
import argparse
import math
import os
import time

import torch

SAVE_SECONDS = 120
SHOW_STEPS = 100


def arguments(minutes, batch, rate, seed):
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", required=True, help="folder of the checkpoint; goes on from what is there")
    ap.add_argument("--minutes", type=float, default=minutes, help="of all runs together")
    ap.add_argument("--batch", type=int, default=batch)
    ap.add_argument("--rate", type=float, default=rate, help="learning rate at its peak")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--seed", type=int, default=seed)
    return ap


class Session:
    """`parts` maps names to what has a state_dict; `extra` is saved as it is."""

    def __init__(self, a, file, parts, unit, extra=None):
        os.makedirs(a.out, exist_ok=True)
        self.path = os.path.join(a.out, file)
        self.total, self.peak, self.unit = a.minutes * 60, a.rate, unit
        self.parts, self.extra = parts, extra or {}
        self.step, self.before = 0, 0.0
        if os.path.exists(self.path):
            state = torch.load(self.path, weights_only=False)
            for name, part in parts.items():
                part.load_state_dict(state[name])
            self.step, self.before = state["step"], state["seconds"]
        self.start = self.saved = self.shown = time.time()
        self.mean, self.seen = {}, 0

    def seconds(self):
        return self.before + time.time() - self.start

    def progress(self):
        return self.seconds() / self.total

    def rate(self, warm, floor):
        """Up over `warm` steps, then down a half cosine to `floor` of the peak."""
        down = 0.5 * (1 + math.cos(math.pi * min(self.progress(), 1)))
        return self.peak * min(1, (self.step + 1) / warm) * (floor + (1 - floor) * down)

    def save(self):
        states = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({**states, **self.extra, "step": self.step, "seconds": self.seconds()}, self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def stepped(self, lr, n, figures, keep):
        """After a step over n of `unit`; `keep` is how much of the mean of
        earlier figures remains."""
        self.step += 1
        self.seen += n
        for k, v in figures.items():
            if not math.isnan(v):
                self.mean[k] = self.mean.get(k, v) * keep + v * (1 - keep)
        now = time.time()
        if self.step % SHOW_STEPS == 0:
            print(f"step {self.step} {self.seconds() / 60:.1f} min lr {lr:.5f} "
                  f"{self.seen / (now - self.shown):.0f} {self.unit}/s "
                  + " ".join(f"{k} {v:.3f}" for k, v in self.mean.items()), flush=True)
            self.shown, self.seen = now, 0
        if now - self.saved > SAVE_SECONDS:
            self.save()
            self.saved = now

    def finish(self):
        self.save()
        print("done", self.step, flush=True)
