# golden_hired.py - HiRED restated for the goldens: the paper and its code
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Written from the paper (arXiv 2408.10945, section 4.2, Algorithm 1, equations
# 1 and 2) and the authors' modeling_llava_next.py, apart from engine/policy*.c:
# two restatements that agree. Every choice also gives its margin, the least
# change of a score, relative to it, or of a quota that would change it.
import math

import numpy as np

f32 = np.float32


class Picture:
    """Where the tiles of a w x h picture lie; see engine/image.h."""

    def __init__(self, w, h, rows, cols, side, px):
        self.w, self.h, self.rows, self.cols = w, h, rows, cols
        self.side, self.px, self.N = side, px, side * side
        self.tiles = 1 + rows * cols
        if rows * cols == 0:
            return
        W, H = cols * px, rows * px
        if W / w < H / h:
            self.fit_w, self.fit_h = W, min(math.ceil(h * (W / w)), H)
        else:
            self.fit_h, self.fit_w = H, min(math.ceil(w * (H / h)), W)
        self.pad_y, self.pad_x = (H - self.fit_h) // 2, (W - self.fit_w) // 2

    def window(self):
        """Rows and columns of the canvas that packing keeps."""
        ch, cw = self.rows * self.side, self.cols * self.side
        if self.w * ch > cw * self.h:
            cut = (ch - self.h * cw // self.w) // 2
            return cut, ch - cut, 0, cw
        cut = (cw - self.w * ch // self.h) // 2
        return 0, ch, cut, cw - cut

    def canvas(self):
        """Token ids of the kept canvas, row by row."""
        if self.tiles == 1:
            return []
        y0, y1, x0, x1 = self.window()
        S = self.side
        return [[(1 + y // S * self.cols + x // S) * self.N +
                 y % S * S + x % S for x in range(x0, x1)]
                for y in range(y0, y1)]

    def stock(self):
        return list(range(self.N)) + [i for row in self.canvas() for i in row]

    def line(self, i):
        """The line of the canvas that a patch is in, -1 in tile 0."""
        t = i // self.N - 1
        return -1 if t < 0 else t // self.cols * self.side + \
            i % self.N // self.side

    def places(self, order, full, lines=()):
        """Where the rows of a selection stand in the whole picture's sequence,
        and how many it has; `full`: a class token comes first; a newline follows
        the rows in `lines`. What is not packed stands where the nearest patch
        does, what has no place last."""
        S, N = self.side, self.N
        y0, y1, x0, x1 = self.window() if self.tiles > 1 else (0, 0, 0, -1)
        whole = full + N + (y1 - y0) * (x1 - x0 + 1)

        def place(i):
            if i < 0:
                return whole - 1
            t, j = (i - self.tiles * N, 0) if i >= self.tiles * N else \
                divmod(i, N)
            if t == 0:
                return j if i >= self.tiles * N else full + j
            y = (t - 1) // self.cols * S + j // S
            x = (t - 1) % self.cols * S + j % S
            return (full + N + (min(max(y, y0), y1 - 1) - y0) * (x1 - x0 + 1) +
                    min(max(x, x0), x1 - 1) - x0)
        out = [0] * full
        for n, i in enumerate(order):
            out.append(place(i))
            if n in lines:
                begun = (out[-1] - full - N) % (x1 - x0 + 1)
                out.append(out[-1] - begun + x1 - x0)
        return out, whole


def best(scores, candidates, n):
    """The n largest, ties to the lowest index, and the margin of the cut."""
    ranked = sorted(candidates, key=lambda j: (-scores[j], j))
    margin = math.inf
    if 0 < n < len(ranked):
        a, b = scores[ranked[n - 1]], scores[ranked[n]]
        margin = float((a - b) / a)
    return set(ranked[:n]), margin


def divide(budget, weights, caps):
    """Largest remainder with caps over integers; the margin is of quotas."""
    q = [math.floor(w * 2 ** 24 + 0.5) for w in weights]
    out = [0] * len(caps)
    active = [i for i in range(len(caps)) if caps[i] > 0]
    margin = math.inf
    while active:
        if sum(q[i] for i in active) == 0:
            q = list(caps)
        Q = sum(q[i] for i in active)
        for i in active:
            margin = min(margin, abs(budget * q[i] - caps[i] * Q) / Q)
        full = [i for i in active if budget * q[i] >= caps[i] * Q]
        if not full:
            break
        for i in full:
            out[i] = caps[i]
        budget -= sum(caps[i] for i in full)
        active = [i for i in active if i not in full]
    if not active:
        return out, margin
    Q = sum(q[i] for i in active)
    for i in active:
        out[i] = budget * q[i] // Q
    left = budget - sum(out[i] for i in active)
    ranked = sorted(active, key=lambda i: (-(budget * q[i] % Q), i))
    if 0 < left < len(ranked):
        a, b = (budget * q[i] % Q for i in ranked[left - 1:left + 1])
        margin = min(margin, (a - b) / Q)
    for i in ranked[:left]:
        out[i] += 1
    return out, margin


def content(p, a0):
    """Attention of the full image over each tile's area."""
    s = [0.0] * (p.tiles - 1)
    for j in range(p.N):
        y, x = divmod(j, p.side)
        r = ((2 * p.side * p.pad_y + p.fit_h * (2 * y + 1)) //
             (2 * p.side * p.px))
        c = ((2 * p.side * p.pad_x + p.fit_w * (2 * x + 1)) //
             (2 * p.side * p.px))
        s[r * p.cols + c] += float(a0[j])
    return s


def paper(p, a0, last, rate, alpha=0.5):
    """(order, tokens of each tile, margin); None where nothing is dropped."""
    N = p.N
    eligible = [set() for _ in range(p.tiles)]
    for i in p.stock():
        eligible[i // N].add(i % N)
    E = sum(len(e) for e in eligible[1:])
    total = min(math.floor(rate * p.tiles * N + 1e-6), N + E)
    if total == N + E:
        return None
    if p.tiles == 1:
        full = total
    else:
        full = min(math.floor(alpha * total + 1e-6), N)
        full = max(full, total - E)
    budgets, margin = [full], math.inf
    if p.tiles > 1:
        rest, margin = divide(total - full, content(p, a0),
                              [len(e) for e in eligible[1:]])
        budgets += rest
    keep = []
    for t in range(p.tiles):
        chosen, m = best(last[t], sorted(eligible[t]), budgets[t])
        keep.append(chosen)
        margin = min(margin, m)
    order = [i for i in p.stock() if i % N in keep[i // N]]
    return order, budgets, margin


def transposed(p):
    """The canvas the code stitches: rows and columns exchanged, and unpadded
    in float32."""
    S, w, h = p.side, f32(p.w), f32(p.h)
    ch, cw = p.cols * S, p.rows * S
    y0, y1, x0, x1 = 0, ch, 0, cw
    if w / h > f32(cw / ch):
        n = int(h * f32(f32(1 / w) * f32(cw)))
        y0, y1 = (ch - n) // 2, ch - (ch - n) // 2
    else:
        n = int(w * f32(f32(1 / h) * f32(ch)))
        x0, x1 = (cw - n) // 2, cw - (cw - n) // 2
    return [(1 + y // S * p.rows + x // S) * p.N + y % S * S + x % S
            for y in range(y0, y1) for x in range(x0, x1)]


def reference(p, a0, last, rate, alpha=0.5, init_topk=0):
    N, k = p.N, p.tiles - 1
    if k == 0:
        n = min(N, int(N * rate))
        keep, margin = best(last[0], range(N), n)
        return sorted(keep), [n], margin
    total = int(p.tiles * N * rate)
    full = min(int(total * alpha), N)
    sub = min(total - full, k * N)
    chosen, margin = best(last[0], range(N), full)
    keep, budgets = [chosen], [full]
    top, m = best(a0, range(N), min(init_topk, N) or int(N * (1 - alpha)))
    margin = min(margin, m)
    count = [sum(i * N // k <= j < (i + 1) * N // k for j in top)
             for i in range(k)]
    for i in range(k):
        share = count[i] / sum(count) if top else 0
        n = min(int(f32(f32(share) * f32(sub))), N)
        chosen, m = best(last[1 + i], range(N), n)
        keep.append(chosen)
        budgets.append(n)
        margin = min(margin, m)
    order = sorted(keep[0]) + [i for i in transposed(p)
                               if i % N in keep[i // N]]
    return order, budgets, margin
