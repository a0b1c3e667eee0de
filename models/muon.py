# muon.py - the optimizer of both training stages
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Matrices between layers move by orthogonalised momentum (Muon: Jordan et al.,
# "Muon: An optimizer for hidden layers in neural networks", 2024), scaled so
# that an entry moves about as far as AdamW would move it (Liu et al., arXiv
# 2502.16982); embeddings, heads, norms and biases stay with AdamW. A matrix
# that stacks several (qkv, gate_up) is one matrix per part.
import torch
from torch import nn


def orthogonal(g):
    """[B,m,n] to the nearest matrices with singular values near 1: five
    Newton-Schulz steps."""
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """`groups` are lists of (parameter, rows of each of its parts)."""

    def __init__(self, parts, lr, momentum=0.95, weight_decay=0.02):
        self.parts = parts
        super().__init__([p for p, _ in parts], dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        group = self.param_groups[0]
        shapes = {}
        for p, sizes in self.parts:
            if p.grad is None:
                continue
            state = self.state[p]
            if "m" not in state:
                state["m"] = torch.zeros_like(p)
            state["m"].lerp_(p.grad, 1 - group["momentum"])
            g = p.grad.lerp(state["m"], group["momentum"])
            p.mul_(1 - group["lr"] * group["weight_decay"])
            for mine, part in zip(p.split(sizes), g.split(sizes)):
                shapes.setdefault(part.shape, []).append((mine, part))
        for shape, pairs in shapes.items():
            moves = orthogonal(torch.stack([g for _, g in pairs]))
            far = group["lr"] * 0.2 * max(shape) ** 0.5
            for (mine, _), move in zip(pairs, moves):
                mine.sub_(move, alpha=far)


class Both:
    """Muon for the matrices of `layers`, AdamW for all other parameters."""

    def __init__(self, module, layers, parts_of, lr, weight_decay=0.02):
        inner = [(p, parts_of(n, p)) for n, p in layers.named_parameters() if p.ndim == 2]
        known = {id(p) for p, _ in inner}
        self.module = module
        self.muon = Muon(inner, lr, weight_decay=weight_decay)
        self.adam = torch.optim.AdamW([p for p in module.parameters() if id(p) not in known], lr=lr,
                                      betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)

    def descend(self, loss, lr):
        """One step down the gradient of `loss`, clipped to a norm of 1."""
        self.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.step(lr)

    def step(self, lr):
        for optimizer in (self.muon, self.adam):
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()

    def zero_grad(self):
        self.muon.zero_grad()
        self.adam.zero_grad()

    def state_dict(self):
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state):
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
