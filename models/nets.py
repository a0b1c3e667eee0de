# nets.py - the shipped model's two networks, lean enough to train on a CPU
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The same functions as transformers' CLIPVisionModel and LlamaForCausalLM with
# fewer calls around them; export.py maps the names. A batch of pictures is
# [B,T,T,3] bytes; patches are row-major; the class token comes first.
import math

import torch
import torch.nn.functional as F
from torch import nn

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]) * 255
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]) * 255

VISION = dict(tile=64, patch=8, width=192, layers=5, heads=6, ffn=768)
TEXT = dict(width=192, layers=5, heads=6, kv_heads=2, ffn=512, theta=10000.0, eps=1e-5)


def cosine_basis(width, patch):
    """[width,3,p,p]: the lowest 2-D cosines; half of them for brightness (as
    far as there are so many), the rest for two colour differences."""
    order = sorted(((u, v) for u in range(patch) for v in range(patch)),
                   key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
    n = (torch.arange(patch) + 0.5) * math.pi / patch
    axes = [(1, 1, 1), (1, 0, -1), (-0.5, 1, -0.5)]
    light = min(width // 2, patch * patch)
    shares = [light, (width - light) // 2, (width - light) // 2]
    rows = []
    for axis, share in zip(axes, shares):
        a = torch.tensor(axis, dtype=torch.float32)
        a = a / a.norm()
        for u, v in order[:share]:
            plane = torch.outer(torch.cos(n * u), torch.cos(n * v))
            rows.append(a[:, None, None] * (plane / plane.norm())[None])
    return torch.stack(rows)


def plane_positions(width, side):
    """[side*side,width]: sines of row and column, to start from."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    out = []
    for axis in (y, x):
        for i in range(width // 4):
            angle = (axis.reshape(-1) + 0.5) * math.pi / side * (1 + i / 4)
            out += [angle.sin(), angle.cos()]
    return torch.stack(out, 1)


class VisionLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        w = c["width"]
        self.heads = c["heads"]
        self.norm1, self.norm2 = nn.LayerNorm(w), nn.LayerNorm(w)
        self.qkv, self.out = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.fc1, self.fc2 = nn.Linear(w, c["ffn"]), nn.Linear(c["ffn"], w)

    def forward(self, x, want_cls=False):
        b, n, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        row = None
        if want_cls:  # attention of the class token, heads added: [B,N]
            logit = (q[:, :, :1] @ k.transpose(-1, -2))[:, :, 0] / math.sqrt(q.shape[-1])
            row = logit.softmax(-1)[:, :, 1:].sum(1)
        a = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(a.transpose(1, 2).reshape(b, n, w))
        h = self.fc1(self.norm2(x))
        return x + self.fc2(h * torch.sigmoid(1.702 * h)), row


class Vision(nn.Module):
    """Bytes to the features of the last layer that runs, [B,1+N,width]."""

    def __init__(self, c=VISION):
        super().__init__()
        self.c = c
        w, side = c["width"], c["tile"] // c["patch"]
        self.embed = nn.Parameter(cosine_basis(w, c["patch"]).reshape(w, -1))
        self.cls = nn.Parameter(torch.randn(w) * 0.3)
        self.pos = nn.Parameter(torch.cat([torch.zeros(1, w), 0.3 * plane_positions(w, side)]))
        self.pre = nn.LayerNorm(w)
        self.layers = nn.ModuleList(VisionLayer(c) for _ in range(c["layers"]))
        for layer in self.layers:
            for m in (layer.qkv, layer.out, layer.fc1, layer.fc2):
                nn.init.normal_(m.weight, std=m.in_features ** -0.5)
                nn.init.zeros_(m.bias)
            layer.out.weight.data.mul_(0.4)
            layer.fc2.weight.data.mul_(0.4)

    def forward(self, tiles, taps=False):
        b, p = tiles.shape[0], self.c["patch"]
        side = self.c["tile"] // p
        x = (tiles.float() - MEAN) / STD
        x = x.view(b, side, p, side, p, 3).permute(0, 1, 3, 5, 2, 4).reshape(b, side * side, -1)
        x = x @ self.embed.T
        x = torch.cat([self.cls.expand(b, 1, -1), x], 1) + self.pos
        x = self.pre(x)
        rows = []
        for i, layer in enumerate(self.layers):
            x, row = layer(x, taps and i in (0, len(self.layers) - 1))
            if row is not None:
                rows.append(row)
        return (x, rows) if taps else x


def vision_parts(name, weight):
    """Rows of each of the matrices that a weight stacks, for the optimizer."""
    return [weight.shape[0] // 3] * 3 if "qkv" in name else [weight.shape[0]]


def text_parts(name, weight):
    rows, width = weight.shape
    if "gate_up" in name:
        return [rows // 2] * 2
    return [width, (rows - width) // 2, (rows - width) // 2] if "qkv" in name else [rows]


class RMSNorm(nn.Module):
    def __init__(self, w, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(w)), eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def rotated(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class TextLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        w, d = c["width"], c["width"] // c["heads"]
        self.heads, self.kv, self.d = c["heads"], c["kv_heads"], d
        self.norm1, self.norm2 = RMSNorm(w, c["eps"]), RMSNorm(w, c["eps"])
        self.qkv = nn.Linear(w, (self.heads + 2 * self.kv) * d, bias=False)
        self.out = nn.Linear(w, w, bias=False)
        self.gate_up = nn.Linear(w, 2 * c["ffn"], bias=False)
        self.down = nn.Linear(c["ffn"], w, bias=False)

    def heads_of(self, x, cos, sin):
        """Queries, keys and values of x, [B,heads,n,d] each."""
        b, n, w = x.shape
        z = self.qkv(self.norm1(x)).view(b, n, self.heads + 2 * self.kv, self.d)
        qk, v = z[:, :, :self.heads + self.kv], z[:, :, self.heads + self.kv:]
        qk = rotated(qk, cos, sin)
        return qk[:, :, :self.heads].transpose(1, 2), self.shared(qk[:, :, self.heads:]), self.shared(v)

    def shared(self, k):
        """[B,n,kv,d] for every query head of its group: [B,heads,n,d]."""
        return k.transpose(1, 2).repeat_interleave(self.heads // self.kv, 1)

    def after(self, x, a):
        """The layer's output, of what its heads attended to, [B,heads,n,d]."""
        x = x + self.out(a.transpose(1, 2).reshape(x.shape))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)

    def forward(self, x, cos, sin, mask):
        q, k, v = self.heads_of(x, cos, sin)
        return self.after(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


class Text(nn.Module):
    """Embeds ids, puts projected features where they belong, and reads on."""

    def __init__(self, vocab, vision_width, c=TEXT):
        super().__init__()
        self.c = c
        w = c["width"]
        self.embed = nn.Embedding(vocab, w)
        nn.init.normal_(self.embed.weight, std=0.5)
        self.proj1, self.proj2 = nn.Linear(vision_width, w), nn.Linear(w, w)
        self.newline = nn.Parameter(torch.randn(w) * 0.3)
        self.layers = nn.ModuleList(TextLayer(c) for _ in range(c["layers"]))
        self.norm = RMSNorm(w, c["eps"])
        self.head = nn.Linear(w, vocab, bias=False)
        nn.init.normal_(self.head.weight, std=0.5 * w ** -0.5)
        for layer in self.layers:
            for m in (layer.qkv, layer.out, layer.gate_up, layer.down):
                nn.init.normal_(m.weight, std=m.in_features ** -0.5)
            layer.out.weight.data.mul_(0.3)
            layer.down.weight.data.mul_(0.3)

    def project(self, features):
        return self.proj2(F.gelu(self.proj1(features)))

    def angles(self, positions):
        """Cosines and sines for `rotated`, [...,d] each."""
        d = self.c["width"] // self.c["heads"]
        freq = self.c["theta"] ** (-torch.arange(0, d, 2, dtype=torch.float32) / d)
        angle = positions[..., None].float() * freq
        return torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)

    def forward(self, x, positions, mask):
        """x [B,L,w] embeddings, positions [B,L], mask [B,1,L,L] bool; the
        normed states before the head, and those after two layers."""
        cos, sin = (t[:, :, None] for t in self.angles(positions))
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, mask)
            if i == 1:
                early = x
        return self.norm(x), early
