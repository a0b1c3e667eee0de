# selection.py - which visual tokens the text model sees while it trains
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Stock packing and the HiRED paper's choice of tokens, over one picture of the
# shipped model's tiles. Token j of tile t is t*N + j.
import math

import numpy as np

from scenes import SIDE, TILE, fit_size

N = SIDE * SIDE
NEWLINE = -1


def kept_window(w, h, rows, cols):
    """Rows and columns of the tile canvas that lie over the picture."""
    ch, cw = rows * SIDE, cols * SIDE
    if w * ch > cw * h:
        cut = (ch - h * cw // w) // 2
        return cut, ch - cut, 0, cw
    cut = (cw - w * ch // h) // 2
    return 0, ch, cut, cw - cut


def canvas_ids(rows, cols):
    """[rows*S, cols*S] token ids of the tile canvas."""
    y, x = np.mgrid[:rows * SIDE, :cols * SIDE]
    tile = 1 + (y // SIDE) * cols + x // SIDE
    return tile * N + (y % SIDE) * SIDE + x % SIDE


def stock(w, h, rows, cols):
    y0, y1, x0, x1 = kept_window(w, h, rows, cols)
    order = list(range(N))
    for row in canvas_ids(rows, cols)[y0:y1, x0:x1]:
        order += list(row) + [NEWLINE]
    return np.array(order)


def shares(total, weights, caps):
    """Largest remainder with caps (integers)."""
    caps = list(caps)
    q = [int(math.floor(s * 2 ** 24 + 0.5)) for s in weights]
    out, left = [0] * len(caps), total
    active = [i for i in range(len(caps)) if caps[i] > 0]
    while active:
        Q = sum(q[i] for i in active)
        if Q == 0:
            for i in active:
                q[i] = caps[i]
            Q = sum(q[i] for i in active)
        full = [i for i in active if left * q[i] >= caps[i] * Q]
        if not full:
            break
        for i in full:
            out[i] = caps[i]
            left -= caps[i]
        active = [i for i in active if i not in full]
    if active:
        Q = sum(q[i] for i in active)
        for i in active:
            out[i] = left * q[i] // Q
        rest = left - sum(out[i] for i in active)
        for i in sorted(active, key=lambda i: (-(left * q[i] % Q), i))[:rest]:
            out[i] += 1
    return out


def hired(w, h, rows, cols, first, last, budget, alpha=0.5):
    """The paper's mode: `first` [N] of tile 0, `last` [P,N], `budget` a share
    of all tokens. Returns ids in order."""
    y0, y1, x0, x1 = kept_window(w, h, rows, cols)
    ids = canvas_ids(rows, cols)
    kept = ids[y0:y1, x0:x1]
    k = rows * cols
    eligible = [np.sort(kept[kept // N == t]) for t in range(1, k + 1)]
    E = kept.size
    total = min(int(budget * (k + 1) * N + 1e-6), N + E)
    full = max(min(int(alpha * total + 1e-6), N), total - E)
    nw, nh = fit_size(w, h, rows, cols)
    top, left = (rows * TILE - nh) // 2, (cols * TILE - nw) // 2
    n = 2 * np.arange(SIDE) + 1
    r = (2 * SIDE * top + nh * n) // (2 * SIDE * TILE)
    c = (2 * SIDE * left + nw * n) // (2 * SIDE * TILE)
    owner = (r[:, None] * cols + c[None, :]).reshape(-1)
    weights = [float(first[owner == i].sum(dtype=np.float64)) for i in range(k)]
    counts = shares(total - full, weights, [len(e) for e in eligible])
    best = np.sort(np.argsort(-last[0], kind="stable")[:full])
    chosen = set()
    for e, n_kept in zip(eligible, counts):
        chosen.update(e[np.argsort(-last.reshape(-1)[e], kind="stable")[:n_kept]].tolist())
    return np.concatenate([best, [i for i in kept.reshape(-1) if int(i) in chosen]]).astype(np.int64)


def places(w, h, rows, cols):
    """[P*N, 2]: row and column of the three by three places of the picture
    that each token's middle lies in; -1 where it lies in the padding."""
    y, x = (np.mgrid[:SIDE, :SIDE].reshape(2, -1) + 0.5) / SIDE
    base = np.stack([y, x], 1) * 3
    nw, nh = fit_size(w, h, rows, cols)
    top, left = (rows * TILE - nh) // 2, (cols * TILE - nw) // 2
    r, c = (a.reshape(-1, 1) for a in np.mgrid[:rows, :cols])
    y, x = ((r + y) * TILE - top) / nh, ((c + x) * TILE - left) / nw
    of_tiles = np.stack([y, x], -1).reshape(-1, 2) * 3
    outside = ((of_tiles < 0) | (of_tiles >= 3)).any(1)
    return np.concatenate([base, np.where(outside[:, None], -1, of_tiles)]).astype(np.int64)


def closed_up(order):
    """(order, place of each, places of all): a picture of which only `order` is
    left, one behind the other."""
    return order, np.arange(len(order)), len(order)


def in_place(order, whole, lines):
    """The same, each token where it stands in `whole`; with `lines`, lines that
    something is left of keep their newlines."""
    kept = np.isin(whole, order) & (whole != NEWLINE)
    begin = N
    for end in np.flatnonzero(whole == NEWLINE):
        kept[end] = lines and kept[begin:end].any()
        begin = end + 1
    at = np.flatnonzero(kept)
    return whole[at], at, len(whole)


def thinned(rng, order, share):
    """A random part of `order`, newlines lost, in order."""
    real = order[order != NEWLINE]
    return real[np.sort(rng.permutation(len(real))[:max(1, int(share * len(real)))])]
