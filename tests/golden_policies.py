# golden_policies.py - policies besides HiRED restated for the goldens
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Written from the papers and the authors' code (the sources stand in
# engine/policy-*.c), apart from those files: two restatements that agree.
# A policy gives rows, each a token's id (-1: none) and the {id: weight} it is
# the sum of; the class token of tile t is id P*N + t. Margins as in
# golden_hired.py.
import math

import numpy as np

from golden_hired import best, divide, transposed


def eligible(p):
    """Tokens of each tile that are not padding."""
    tiles = [[] for _ in range(p.tiles)]
    for i in p.stock():
        tiles[i // p.N].append(i % p.N)
    return [sorted(t) for t in tiles]


def everything(p):
    return [list(range(p.N)) for _ in range(p.tiles)]


def shares(p, budget, weights):
    """Tokens of each tile, or None when nothing is dropped."""
    caps = [len(t) for t in eligible(p)]
    total = p.tiles * p.N * budget if budget <= 1 else budget
    total = min(math.floor(total + 1e-6), sum(caps))
    if total == sum(caps):
        return None
    return divide(total, weights or [1] * p.tiles, caps)[0]


def packed(p, keep):
    """HiRED's order of chosen patches."""
    return [i for i in p.stock() if i % p.N in keep[i // p.N]]


def raster(p, keep, grid):
    """Tile 0, then a canvas with its padding."""
    out = sorted(keep[0])
    for y in range(p.rows * p.side):
        for x in range(p.cols * p.side):
            tile = 1 + y // p.side * p.cols + x // p.side
            j = y % p.side * p.side + x % p.side
            if j in keep[tile]:
                out.append(tile * p.N + j)
    return out if grid else out[:len(keep[0])]


def tokens(ids):
    return [(i, {i: 1.0}) for i in ids]


def fastervlm(p, see, budget, reference=0):
    if reference:
        share = budget if budget <= 1 else budget / (p.tiles * p.N)
        n = [min(p.N, math.floor(p.N * share + 0.5))] * p.tiles
        lists = everything(p)
    else:
        n, lists = shares(p, budget, None), eligible(p)
        if n is None:
            return None
    picks = [best(see.last[t], lists[t], n[t]) for t in range(p.tiles)]
    keep = [c for c, _ in picks]
    order = raster(p, keep, True) if reference else packed(p, keep)
    return tokens(order), n, min(m for _, m in picks)


def areas(p):
    """The tile, from 1, whose part of the squeezed picture each patch shows."""
    y, x = np.mgrid[:p.side, :p.side].reshape(2, -1) * 2 + 1
    r = (2 * p.side * p.pad_y + p.fit_h * y) // (2 * p.side * p.px)
    c = (2 * p.side * p.pad_x + p.fit_w * x) // (2 * p.side * p.px)
    return 1 + r * p.cols + c


def one_by_one(p, score, ids, n, lower, ends):
    """Patches until n tokens are spent; one that opens a line costs two and
    ends it, unless it is the last. Also which lines have ends."""
    score, out, ended = dict(zip(ids, score)), [], set()
    while n > 0 and score:
        best_id = min(score, key=lambda i: (-score[i], i))
        del score[best_id]
        out.append(best_id)
        line = p.line(best_id)
        if ends and line not in ended and n > 1:
            ended.add(line)
            n -= 1
        n -= 1
        for i in score:
            score[i] *= np.float32(1 - lower(best_id, i))
    return out, ended


def plus_choice(p, see, total, noise, lines):
    N, last = p.N, see.last * noise
    cells = [i for i in p.stock() if i >= N]
    full = max(min(int(total / 2 + 1e-6), N), total - len(cells))
    parts = total - full

    def neighbours(a, b):
        dy, dx = (abs(a % N // p.side - b % N // p.side),
                  abs(a % p.side - b % p.side))
        return a // N == b // N and max(dy, dx) == 1

    def crowd(a, b):
        return 0.4 * neighbours(a, b) * (p.tiles > 1)

    def alike(a, b):
        return neighbours(a, b) and 0.8 * max(0, float(see.near[a] @
                                                       see.near[b]))
    base, _ = one_by_one(p, last[0], range(N), full, crowd, False)
    weight = np.zeros(p.tiles)
    if p.tiles > 1:
        field = see.first / see.first.sum() + see.last[0] / see.last[0].sum()
        np.add.at(weight, areas(p), field)
    ends = 0 < lines * len(p.canvas()) <= parts
    cells.sort()
    scores = [np.float32(weight[i // N]) * last[i // N][i % N] for i in cells]
    rest, ended = one_by_one(p, scores, cells, parts, alike, ends)
    keep = [{i % N for i in base + rest if i // N == t}
            for t in range(p.tiles)]
    return packed(p, keep), [len(k) for k in keep], ended


def hired_plus(p, see, budget, lines=3):
    """With the rows that newlines follow. The margin is the larger noise of
    the scores that does not change the choice."""
    cap = len(p.stock())
    total = min(math.floor(p.tiles * p.N * budget + 1e-6), cap)
    if total == cap:
        return None
    order, n, ended = plus_choice(p, see, total, 1, lines)
    rng, margin = np.random.default_rng(0), 0.0
    for level in (0.001, 0.05):
        noises = [1 + level * rng.standard_normal(see.last.shape)
                  for _ in range(6)]
        if all(plus_choice(p, see, total, noise.astype(np.float32), lines)[0]
               == order for noise in noises):
            margin = level
    after = [p.line(i) for i in order[1:]] + [None]
    lines = [k for k, i in enumerate(order) if i >= p.N and
             p.line(i) in ended and after[k] != p.line(i)]
    return tokens(order), n, margin, lines


def uniform(p, see, budget, reference=0):
    if reference:
        num = int(p.N * budget)
        if num == 0:
            return [], [0] * p.tiles, math.inf
        keep = set(range(0, p.N - 1, p.N // num))
        canvas = transposed(p) if p.tiles > 1 else []
        order = sorted(keep) + [i for i in canvas if i % p.N in keep]
        return tokens(order), [len(keep)] * p.tiles, math.inf
    lists = eligible(p)
    n = shares(p, budget, [len(e) for e in lists])
    if n is None:
        return None
    keep = [{e[(2 * i + 1) * len(e) // (2 * b)] for i in range(b)}
            for e, b in zip(lists, n)]
    return tokens(packed(p, keep)), n, math.inf


class SplitMix:
    def __init__(self, state):
        self.state = state % 2 ** 64

    def next(self):
        self.state = (self.state + 0x9e3779b97f4a7c15) % 2 ** 64
        z = self.state
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 % 2 ** 64
        z = (z ^ z >> 27) * 0x94d049bb133111eb % 2 ** 64
        return z ^ z >> 31


def random(p, see, budget, seed=0):
    lists = eligible(p)
    n = shares(p, budget, [len(e) for e in lists])
    if n is None:
        return None
    keep = []
    for t, (e, b) in enumerate(zip(lists, n)):
        draw, left, e = SplitMix(int(seed) + t * 0xD1342543DE82EF95), [], e[:]
        for i in range(b):
            r = i + ((draw.next() >> 32) * (len(e) - i) >> 32)
            e[i], e[r] = e[r], e[i]
        keep.append(set(e[:b]))
    return tokens(packed(p, keep)), n, math.inf


def unit(k):
    k = k.astype(np.float64)
    return k / np.maximum(np.linalg.norm(k, axis=-1, keepdims=True), 1e-12)


def visionzip_tile(p, see, t, candidates, dominant, contextual):
    """Dominant patches, contextual rows, margin."""
    top, margin = best(see.last[t], candidates, dominant - 1)
    rest = [j for j in candidates if j not in top]
    contextual = min(contextual, len(rest))
    if contextual == 0:
        return sorted(top), [], margin
    step = max(1, len(rest) // contextual)
    targets = rest[::step][:contextual]
    key = unit(see.key[t])
    members = {j: [] for j in targets}
    for j in rest:
        if j in members:
            continue
        close = key[targets] @ key[j]
        i = int(close.argmax())
        if contextual > 1:
            two = np.sort(close)[-2:]
            margin = min(margin, float(two[1] - two[0]))
        members[targets[i]].append(j)
    base = t * p.N
    rows = []
    for j, group in members.items():
        row = {base + j: 1.0}
        row.update({base + i: 1 / len(group) for i in group})
        rows.append((base + j, row))
    return sorted(top), rows, margin


def visionzip(p, see, budget, reference=0, dominant=191, contextual=30):
    if reference:
        lists = everything(p)
        dominant = min(int(dominant), p.N + 1)
        split = [(dominant, min(int(contextual), p.N + 1 - dominant))
                 ] * p.tiles
    else:
        lists, n = eligible(p), shares(p, budget, None)
        if n is None:
            return None
        few = [max(1, (b * 5 + 16) // 32) if b >= 3 else 0 for b in n]
        split = [(b - c, c) for b, c in zip(n, few)]
    tiles = [visionzip_tile(p, see, t, lists[t], *split[t])
             if sum(split[t]) else ([], [], math.inf)
             for t in range(p.tiles)]
    classes = [tokens([p.tiles * p.N + t]) if sum(split[t]) else []
               for t in range(p.tiles)]
    keep = [set(top) for top, _, _ in tiles]
    canvas = raster(p, keep, True)[len(keep[0]):]
    if not reference:
        canvas = packed(p, keep)[len(keep[0]):]
    rows = classes[0] + tokens(tiles[0][0]) + tiles[0][1] + tokens(canvas)
    rows += [c for t in classes[1:] for c in t]
    rows += [r for tile in tiles[1:] for r in tile[1]]
    return (rows, [sum(s) for s in split], min(m for _, _, m in tiles))


def outliers(a):
    q1, q3 = np.percentile(a.astype(np.float64), [25, 75])
    fence = q3 + 1.5 * (q3 - q1)
    return int((a > fence).sum()), float((abs(a - fence) / fence).min())


def prumerge_tile(p, see, t, candidates, most, plus, reference, neighbours,
                  share):
    a = see.next[t]
    ranked = sorted(candidates, key=lambda j: (-a[j], j))
    n, margin = len(ranked), math.inf
    m = most
    if most is None:
        m, margin = outliers(a[candidates])
        if plus or not reference:
            m = max(m, 1)
    elif plus:
        m = math.ceil(share * most - 1e-6)
    # the roundings of the code
    kept = ranked[:int(n * (m / n)) if most is None and reference else m]
    gaps = [(a[ranked[i]] - a[ranked[i + 1]]) / a[ranked[i]]
            for i in range(min(len(kept), n - 1))]
    margin = min([margin] + gaps)  # the order of the kept ones, too
    if plus and most is None:
        gap = max(int(int(1 / (m / n)) / 3), 1)
        kept += [candidates[i] for i in range(0, n - 1, gap)
                 if candidates[i] not in kept]
    elif plus:
        left, b = [j for j in candidates if j not in kept], most - m
        kept += [left[(2 * i + 1) * len(left) // (2 * b)] for i in range(b)]
    key, base, rows = unit(see.wide[t]), t * p.N, []
    for j in kept:
        others = [i for i in candidates if i != j]
        close = key[others] @ key[j]
        near = np.argsort(-close, kind="stable")[:int(neighbours)]
        row = {base + j: 1.0}
        row.update({base + others[i]: float(a[others[i]]) for i in near})
        rows.append((base + j, row))
    rest = [j for j in candidates if j not in kept]
    if rest or reference:
        rows.append((-1, {base + j: float(a[j]) for j in rest}))
    return rows, margin


def prumerge(p, see, budget, plus=False, reference=0, adaptive=0,
             neighbours=32, attention=0.25):
    if reference or adaptive:
        lists = everything(p) if reference else eligible(p)
        most = [None if e else -1 for e in lists]
    else:
        lists, n = eligible(p), shares(p, budget, None)
        if n is None:
            return None
        most = [b - 1 for b in n]
    tiles = [prumerge_tile(p, see, t, lists[t], most[t], plus, reference,
                           neighbours, attention)
             if most[t] is None or most[t] >= 0 else ([], math.inf)
             for t in range(p.tiles)]
    return ([r for rows, _ in tiles for r in rows],
            [len(rows) for rows, _ in tiles], min(m for _, m in tiles))


def prumerge_plus(*args, **params):
    return prumerge(*args, plus=True, **params)
