# attention.py - a picture of what the encoder's class token attends to
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python attention.py FOLDER ../docs/attention.png
# One row per held-out scene: the picture; the squeezed picture under its first
# layer's map, which shares HiRED's budget; the same and the tiles under their
# last layer's maps, which spend it. Brighter is more attention.
import sys

import numpy as np
import torch
from PIL import Image

import kept
import load
import scenes

UP = 2
GAP = 12
SCENES = [9, 22]  # of two by two tiles


def lit(pixels, attention):
    """[T,T,3] bytes under [N] attention, scaled up."""
    a = attention.reshape(scenes.SIDE, scenes.SIDE)
    a = np.sqrt(a / a.max())
    light = np.kron(a, np.ones((scenes.PATCH, scenes.PATCH)))[..., None]
    shown = pixels * (0.12 + 0.88 * light)
    return Image.fromarray(shown.astype(np.uint8)).resize((scenes.TILE * UP,) * 2, Image.NEAREST)


def row(vision, number):
    rng = np.random.default_rng([kept.HELD_OUT, 0, number])
    w, h, things = scenes.held_out(rng)
    picture, _, _ = scenes.draw(rng, w, h, things)
    pixels, (rows, cols), _ = scenes.tiles(picture)
    with torch.no_grad():
        _, (first, last) = vision(torch.from_numpy(pixels), taps=True)
    tile = scenes.TILE * UP
    page = Image.new("RGB", ((3 + cols) * tile + 2 * GAP, rows * tile), "white")
    picture.thumbnail((2 * tile, rows * tile))
    page.paste(picture, (0, 0))
    page.paste(lit(pixels[0], first[0].numpy()), (2 * tile + GAP, 0))
    page.paste(lit(pixels[0], last[0].numpy()), (2 * tile + GAP, tile))
    for t in range(rows * cols):
        at = (3 * tile + 2 * GAP + t % cols * tile, t // cols * tile)
        page.paste(lit(pixels[1 + t], last[1 + t].numpy()), at)
    return page


def main():
    vision = load.encoder(load.checkpoint(sys.argv[1]))
    rows = [row(vision, i) for i in SCENES]
    page = Image.new("RGB", (max(r.width for r in rows), sum(r.height + GAP for r in rows)), "white")
    y = 0
    for r in rows:
        page.paste(r, (0, y))
        y += r.height + GAP
    page.save(sys.argv[2], optimize=True)


if __name__ == "__main__":
    main()
