# kept.py - what a choice of tokens keeps of what was drawn, no language model
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python kept.py FOLDER [--scenes 120]
# Over held-out scenes, per budget and variant: the share of letters whose
# patch is kept, of words with all letters kept, of shapes with any patch kept
# and with one kept in the squeezed picture. A first look at variants of
# hired-plus (docs/policies.md); evaluate has the last word.
import argparse

import numpy as np
import torch

import load
import scenes
import selection
from quiz import HELD_OUT

N, SIDE, TILE = selection.N, scenes.SIDE, scenes.TILE


@torch.no_grad()
def look(vision, rng):
    """One scene: geometry, maps and features, and where its things are."""
    w, h, things = scenes.held_out(rng)
    picture, mask, letters = scenes.draw(rng, w, h, things, with_mask=True)
    pixels, (rows, cols), (nw, nh, left, top) = scenes.tiles(picture)
    canvas = np.zeros((rows * TILE, cols * TILE), np.uint8)
    canvas[top:top + nh, left:left + nw] = mask.resize((nw, nh), 0)
    base = np.asarray(mask.resize((TILE, TILE), 0))[None]
    ids = scenes.patch_ids(np.concatenate([base, scenes.cut(canvas, rows, cols)])).reshape(-1)
    word, spots = -1, []
    for x, y, _, i, _ in letters:
        word += i == 0
        cx, cy = int(left + x * nw / w), int(top + y * nh / h)
        tile = 1 + cy // TILE * cols + cx // TILE
        spots.append((word, tile * N + cy % TILE // 8 * SIDE + cx % TILE // 8))
    late = []
    hook = vision.layers[-1].norm1.register_forward_hook(lambda _m, _i, out: late.append(out))
    x, (first, last) = vision(torch.from_numpy(pixels), taps=True)
    hook.remove()
    return {"size": (w, h, rows, cols), "first": first[0].double().numpy(), "last": last.double().numpy(),
            "x": x[:, 1:].numpy(), "late": late[0][:, 1:].numpy(), "ids": ids, "letters": spots,
            "shapes": [i for i, t in enumerate(things, 1) if t["kind"] != "text"]}


def areas(w, h, rows, cols):
    """Tile that each patch of the squeezed picture lies in, from 0."""
    nw, nh = scenes.fit_size(w, h, rows, cols)
    top, left = (rows * TILE - nh) // 2, (cols * TILE - nw) // 2
    n = 2 * np.arange(SIDE) + 1
    r = (2 * SIDE * top + nh * n) // (2 * SIDE * TILE)
    c = (2 * SIDE * left + nw * n) // (2 * SIDE * TILE)
    return (r[:, None] * cols + c[None, :]).reshape(-1)


def greedy(ids, score, n, lower):
    """n of ids, best first; lower(id) gives factors [len(ids)] for the rest."""
    score, out = score[ids].copy(), []
    for _ in range(n):
        j = int(score.argmax())
        out.append(ids[j])
        if lower is not None:
            score *= lower(ids[j], ids)
        score[j] = -1
    return out


def near(taken, ids):
    """Which of ids are around a token, in its tile."""
    apart = np.maximum(abs(ids % N // SIDE - taken % N // SIDE), abs(ids % SIDE - taken % SIDE))
    return (apart <= 1) & (ids // N == taken // N)


def crowd(factor):
    return lambda taken, ids: np.where(near(taken, ids), factor, 1.0)


def alike(late, strength):
    """By how alike neighbours are that come to the last layer."""
    x = late.reshape(-1, late.shape[-1])
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return lambda taken, ids: np.where(near(taken, ids), 1 - strength * np.clip(x[ids] @ x[taken], 0, 1), 1.0)


def unlike(x):
    x = x.reshape(-1, x.shape[-1])
    x = x - x.mean(0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return lambda taken, ids: 1 - np.clip(x[ids] @ x[taken], 0, 1)


def choose(seen, budget, alpha=0.5, weights="first", factor=1.0, diverse=False, together=False,
           strength=0.0):
    """HiRED and its variants; the defaults are HiRED itself."""
    w, h, rows, cols = seen["size"]
    y0, y1, x0, x1 = selection.kept_window(w, h, rows, cols)
    kept, k = selection.canvas_ids(rows, cols)[y0:y1, x0:x1].reshape(-1), rows * cols
    eligible = [np.sort(kept[kept // N == t]) for t in range(1, k + 1)]
    total = min(int(budget * (k + 1) * N + 1e-6), N + kept.size)
    full = max(min(int(alpha * total), N), total - kept.size)
    maps = {"first": [seen["first"]], "last": [seen["last"][0]], "both": [seen["first"], seen["last"][0]]}
    field, last = sum(m / m.sum() for m in maps[weights]), seen["last"].reshape(-1)
    weight = [field[areas(w, h, rows, cols) == t].sum() for t in range(k)]
    lower = unlike(seen["x"]) if diverse else None
    out = greedy(np.arange(N), last, full, lower or crowd(factor))
    if strength:
        lower = alike(seen["late"], strength)
    if together:
        score = last.reshape(-1, N) * np.concatenate([[0], weight])[:, None]
        return out + list(greedy(np.sort(kept), score.reshape(-1), total - full, lower))
    for tile, n in zip(eligible, selection.shares(total - full, weight, [len(e) for e in eligible])):
        out += greedy(tile, last, n, lower)
    return out


def rate(seen, chosen):
    chosen = set(int(i) for i in chosen)
    words = {}
    for word, spot in seen["letters"]:
        words.setdefault(word, []).append(spot in chosen)
    at = {s: [i for i in chosen if seen["ids"][i] == s] for s in seen["shapes"]}
    return [(sum(map(sum, words.values())), len(seen["letters"])), (sum(map(all, words.values())), len(words)),
            (sum(bool(v) for v in at.values()), len(at)), (sum(any(i < N for i in v) for v in at.values()), len(at))]


VARIANTS = {
    "hired": {}, "alpha 0.3": {"alpha": 0.3}, "tiles by the last map": {"alpha": 0.3, "weights": "last"},
    "tiles by both maps": {"alpha": 0.3, "weights": "both"},
    "unlike features first": {"alpha": 0.3, "weights": "both", "diverse": True},
    "neighbours lowered": {"weights": "both", "factor": 0.6},
    "one competition": {"weights": "both", "factor": 0.6, "together": True},
    "hired-plus": {"weights": "both", "factor": 0.6, "together": True, "strength": 0.8},
}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model")
    ap.add_argument("--scenes", type=int, default=120)
    a = ap.parse_args()
    vision = load.encoder(load.checkpoint(a.model))
    seen = [look(vision, np.random.default_rng([HELD_OUT, 0, i])) for i in range(a.scenes)]
    print("| budget | variant | letters | words | shapes | in the whole picture |\n|---|---|---|---|---|---|")
    for budget in (0.05, 0.1, 0.2, 0.4):
        for name, how in VARIANTS.items():
            sums = np.sum([rate(s, choose(s, budget, **how)) for s in seen], 0)
            print(f"| {budget} | {name} | " + " | ".join(f"{r / n:.3f}" for r, n in sums) + " |", flush=True)


if __name__ == "__main__":
    main()
