# flex.py - a small FlexAttention model: the text model with a second look
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What engine/fine.h describes, for training: all rows that predict an answer
# look at once, each at its own selection. Selections and rotation are those of
# the released LlamaAttention (threshold on a stretched map, 9 x 9 cells, tables
# of cosines and sines resized); here the first layer that looks is not the
# tenth, and projections of fine keys begin as the layer's own.
#
# A picture is padded to a square of ZOOM x ZOOM tiles; the sequence has the
# square shrunk to one tile, the fine tokens are those of the tiles.
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import nets
import scenes

ZOOM = 2
FIRST = 2  # hierarchical layer; the one before it makes the first selection
THRESHOLD = 48
CELLS = 9
N, FINE = scenes.SIDE ** 2, (ZOOM * scenes.SIDE) ** 2
EDGE = tuple(int(m) for m in nets.MEAN)  # colour of the padding


def fits_square(w, h):
    """Whether words are as high in the square as on the canvas of tiles, and
    cut by the same borders."""
    return scenes.choose_grid(w, h) == (ZOOM, ZOOM)


def picture_size(rng):
    while True:
        size = scenes.picture_size(rng)
        if fits_square(*size):
            return size


def square(picture):
    """[S,S,3] bytes of the padded square, S = ZOOM * TILE."""
    side = max(picture.size)
    canvas = Image.new("RGB", (side, side), EDGE)
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(canvas.resize((ZOOM * scenes.TILE,) * 2, Image.BICUBIC))


def looks(squares):
    """[B,S,S,3] to what the encoder reads, [B,1+ZOOM*ZOOM,T,T,3]: shrunk, tiles."""
    x = squares.permute(0, 3, 1, 2).float()
    low = F.interpolate(x, size=scenes.TILE, mode="bilinear", antialias=True)
    tiles = x.unfold(2, scenes.TILE, scenes.TILE).unfold(3, scenes.TILE, scenes.TILE)
    tiles = tiles.permute(0, 2, 3, 4, 5, 1).flatten(1, 2)
    return torch.cat([low.permute(0, 2, 3, 1)[:, None], tiles], 1)


def in_lines(tiles):
    """[ZOOM*ZOOM,N,w] features of tiles to [FINE,w], line after line."""
    s = scenes.SIDE
    return tiles.view(ZOOM, ZOOM, s, s, -1).permute(0, 2, 1, 3, 4).reshape(FINE, -1)


def margin(w, h):
    """Lines of tokens along the longer side that are padding, at either end."""
    return int(abs(w - h) // 2 / max(w, h) * scenes.SIDE)


def places(w, h):
    """As selection.places, of the shrunk square's tokens."""
    y, x = (np.mgrid[:scenes.SIDE, :scenes.SIDE].reshape(2, -1) + 0.5) / scenes.SIDE - 0.5
    at = np.stack([y * max(w, h) / h, x * max(w, h) / w], 1) + 0.5
    return np.where(((at < 0) | (at >= 1)).any(1)[:, None], -1, at * 3).astype(np.int64)


def framed(sizes):
    """[B,g,g]: false where the square of a (w, h) is padding."""
    out = torch.ones(len(sizes), scenes.SIDE, scenes.SIDE, dtype=torch.bool)
    for frame, (w, h) in zip(out, sizes):
        m = margin(w, h)
        for line in (*range(m), *range(scenes.SIDE - m, scenes.SIDE)):
            frame[(line, slice(None)) if w > h else (slice(None), line)] = False
    return out


def select(maps, frame):
    """[B,R,N] of attention to the sequence's image tokens to what rows look at
    next, [B,R,FINE]."""
    b, r, _ = maps.shape
    m = maps.view(b, r, -1) * frame.view(b, 1, -1)
    low, high = m.amin(-1, keepdim=True), m.amax(-1, keepdim=True)
    lit = 255 * ((m - low) / (high - low)) > THRESHOLD
    lit = lit.view(b, r, scenes.SIDE, scenes.SIDE).float()
    cells = F.adaptive_max_pool2d(lit, (CELLS, CELLS))
    return F.interpolate(cells, size=ZOOM * scenes.SIDE, mode="nearest").flatten(2) > 0.5


class Text(nets.Text):
    """Rows of a batch: those that look closer, [B,R] with which of them count."""

    def __init__(self, vocab, vision_width, c=nets.TEXT):
        super().__init__(vocab, vision_width, c)
        for layer in self.layers[FIRST:]:
            for name in ("fine_k", "fine_v"):
                setattr(layer, name, nn.Linear(c["width"], layer.kv * layer.d, bias=False))

    def start_from(self, state, features):
        """Weights of a model without a second look. A fine key begins as the
        layer's own of the same vector, as if that were normed to the mean
        length of `features` [n, vision width]."""
        self.load_state_dict(state, strict=False)
        with torch.no_grad():
            size = self.project(features).square().mean().sqrt()
            for layer in self.layers[FIRST:]:
                own = layer.qkv.weight * layer.norm1.weight / size
                n = layer.kv * layer.d
                layer.fine_k.weight.copy_(own[-2 * n:-n])
                layer.fine_v.weight.copy_(own[-n:])

    def fine_angles(self, begin):
        """Tables of the sequence's image tokens, from position `begin` on,
        each resized: [FINE,1,d]."""
        s = scenes.SIDE
        return [F.interpolate(t.T.reshape(1, -1, s, s), scale_factor=ZOOM, mode="bicubic")
                .reshape(-1, 1, FINE).permute(2, 1, 0) for t in self.angles(begin + torch.arange(N))]

    def look(self, layer, q, k, v, barred, fine, tables, lit):
        """Attention of some rows to their own keys and the fine ones that are
        lit; q [B,heads,R,d]."""
        b = len(fine)
        kh = layer.shared(nets.rotated(layer.fine_k(fine).view(b, FINE, layer.kv, layer.d), *tables))
        vh = layer.shared(layer.fine_v(fine).view(b, FINE, layer.kv, layer.d))
        u = (q @ kh.transpose(2, 3) / math.sqrt(layer.d)).masked_fill(~lit[:, None], -math.inf)
        s = q @ k.transpose(2, 3) / math.sqrt(layer.d) + barred
        p = torch.cat([s, u], -1).softmax(-1)
        n = k.shape[2]
        return p[..., :n] @ v + p[..., n:] @ vh

    @torch.no_grad()
    def glance(self, q, k, barred, begin):
        """How much rows attend to the sequence's image tokens, [B,R,N]."""
        s = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + barred
        return s.softmax(-1)[..., begin:begin + N].sum(1)

    def forward(self, x, positions, mask, fine, rows, counts, begin, frame, share=1.0):
        """As nets.Text; fine [B,FINE,w] projected, `share` of the outputs of
        rows is with a second look and the rest without. Also how much of the
        fine tokens each layer's rows were shown."""
        b, n, _ = x.shape
        cos, sin = (t[:, :, None] for t in self.angles(positions))
        tables = self.fine_angles(begin)
        item = torch.arange(b)[:, None]
        barred = torch.zeros(b, rows.shape[1], n).masked_fill_(~mask[:, 0][item, rows], -math.inf)[:, None]
        spots = (item * n + rows)[counts]
        shown, lit, early = [], None, None
        for i, layer in enumerate(self.layers):
            q, k, v = layer.heads_of(x, cos, sin)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            if i >= FIRST - 1:
                mine = q.transpose(1, 2)[item, rows].transpose(1, 2)
            if i >= FIRST:
                shown.append(lit[counts].float().mean())
                o = self.look(layer, mine, k, v, barred, fine, tables, lit)
                a = a.transpose(1, 2).flatten(0, 1)
                o = share * o.transpose(1, 2)[counts] + (1 - share) * a[spots]
                a = a.index_copy(0, spots, o).view(b, n, layer.heads, layer.d).transpose(1, 2)
            if FIRST - 1 <= i < len(self.layers) - 1:
                lit = select(self.glance(mine, k, barred, begin), frame)
            x = layer.after(x, a)
            if i == 1:
                early = x
        return self.norm(x), early, torch.stack(shown)
