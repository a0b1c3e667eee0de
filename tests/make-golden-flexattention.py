#!/usr/bin/env python3
# make-golden-flexattention.py - FlexAttention restated, over tiny random folders
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   tests/make-golden-flexattention.py [DIR [NAME...]]   rewrites
#                                                        tests/golden-flex/
#
# The image encoder is transformers' CLIP; all that FlexAttention adds, and the
# language model around it, is written here anew from the paper and from what
# its released LlamaAttention computes, in f32: every hierarchical layer selects
# and computes the keys and values of what is selected for each token again.
#
# A folder is one of LLaVA's own repository with `extra`. In it
#   golden.json   {"cases": [...]}: width, height, seed (make-golden.py's
#                 picture), question, rendered, prompt_ids, ids, margin (least
#                 difference of the two largest logits), select_margin (least
#                 distance of 255 n from the threshold), lit: for each token and
#                 each layer that selects for another, the lit cells; plain_ids:
#                 the text without a second look
#   golden.safetensors  i.logits [tokens,V], i.low [g*g] and i.fine [G*G], means
#                 of the projected tokens
import argparse
import base64
import importlib.util
import json
import math
import os
import shutil

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file as save_tensors
from transformers import CLIPVisionConfig, CLIPVisionModel, LlavaImageProcessor

import golden_folders

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("golden",
                                              f"{HERE}/make-golden.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)

PATCH = 4
D, H, C, FF, THETA, EPS = 32, 4, 8, 40, 1e4, 1e-5
STEPS = 6
# Key heads, threshold, seed, patches of a tile's side, zoom, layers, the first
# hierarchical one (the release has 9 as a constant): two ways to 72 fine
# patches, and a grid that 9 cells do not divide.
FOLDERS = {"mha": (4, 100, 15, 24, 3, 12, 9), "gqa": (2, 48, 5, 12, 6, 12, 9),
           "ragged": (2, 64, 1, 8, 2, 5, 2)}
SIZES = [(160, 120), (61, 97), (80, 80)]


def make_weights(kv, seed, layers):
    r = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=None):
        return torch.randn(shape, generator=r) * (
            scale or 1 / math.sqrt(shape[-1]))

    vocab = 448
    w = {"model.embed_tokens.weight": normal(vocab, D, scale=1.0),
         "model.norm.weight": 1 + normal(D, scale=0.2),
         "lm_head.weight": normal(vocab, D, scale=4 / math.sqrt(D)),
         "model.mm_projector.0.weight": normal(D, 16),
         "model.mm_projector.0.bias": normal(D, scale=0.2),
         "model.mm_projector.2.weight": normal(D, D),
         "model.mm_projector.2.bias": normal(D, scale=0.2)}
    for i in range(layers):
        at = f"model.layers.{i}."
        for name, rows, cols in (("q", H * C, D), ("k", kv * C, D),
                                 ("v", kv * C, D), ("o", D, H * C)):
            scale = 2 / math.sqrt(cols) if name in "qk" else None
            w[f"{at}self_attn.{name}_proj.weight"] = normal(rows, cols,
                                                            scale=scale)
        if i != (3 if layers > 9 else 0):  # what no layer uses may be missing
            for name in ("k", "v"):
                w[f"{at}self_attn.{name}_proj_hd.weight"] = normal(
                    kv * C, D, scale=2 / math.sqrt(D))
        for name, rows, cols in (("gate", FF, D), ("up", FF, D),
                                 ("down", D, FF)):
            w[f"{at}mlp.{name}_proj.weight"] = normal(rows, cols)
        for name in ("input_layernorm", "post_attention_layernorm"):
            w[f"{at}{name}.weight"] = 1 + normal(D, scale=0.1)
    return {k: v.to(torch.bfloat16).contiguous() for k, v in w.items()}


def make_tower(seed, g):
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=3,
        num_attention_heads=2, image_size=g * PATCH, patch_size=PATCH,
        attn_implementation="eager")
    tower = CLIPVisionModel(config).eval()
    golden_folders.randomise(tower, seed)
    for p in tower.parameters():
        p.data = p.data.to(torch.bfloat16).float()
    return tower


def rms(x, w):
    return w * x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS)


def rotate(x, cos, sin):
    """x [heads, n, C]; cos, sin [n, C]."""
    turned = torch.cat([-x[..., C // 2:], x[..., :C // 2]], -1)
    return x * cos + turned * sin


def angles(pos):
    freq = THETA ** (-torch.arange(0, C, 2, dtype=torch.float32) / C)
    a = pos[:, None].float() * freq
    return torch.cat([a, a], -1)


class Model:
    def __init__(self, weights, kv, threshold, g, zoom, layers, first,
                 hierarchical=True):
        self.w = {k: v.float() for k, v in weights.items()}
        self.layers, self.first = layers, first
        self.kv, self.threshold = kv, threshold
        self.g, self.G = g, g * zoom
        self.on = hierarchical

    def project(self, x):
        w = self.w
        x = F.gelu(x @ w["model.mm_projector.0.weight"].T +
                   w["model.mm_projector.0.bias"])
        return (x @ w["model.mm_projector.2.weight"].T +
                w["model.mm_projector.2.bias"])

    def begin(self, b, size, fine):
        """A picture at position b; fine [G*G, D] line after line."""
        self.b, self.size, self.fine = b, size, fine
        g, G = self.g, self.G
        a = angles(torch.arange(b, b + g * g))
        self.tables = [F.interpolate(
            t.T.reshape(1, C, g, g), size=G, mode="bicubic"
        ).reshape(C, G * G).T for t in (a.cos(), a.sin())]
        self.cache = [None] * self.layers
        self.length = 0

    def select(self, p):
        """Cells lit by p [H, N], a row's probabilities on ordinary keys."""
        g = self.g
        m = p[:, self.b:self.b + g * g].sum(0).reshape(g, g).clone()
        W, Hh = self.size
        margin = int(abs(W - Hh) // 2 / max(W, Hh) * g)
        if margin and W > Hh:
            m[:margin], m[-margin:] = 0, 0
        elif margin:
            m[:, :margin], m[:, -margin:] = 0, 0
        n = 255 * ((m - m.min()) / (m.max() - m.min()))
        self.select_margin = min(self.select_margin,
                                 float((n - self.threshold).abs().min()))
        cells = F.adaptive_max_pool2d((n > self.threshold).float()[None, None],
                                      (9, 9))
        mask = F.interpolate(cells, size=self.G, mode="nearest").bool().flatten()
        self.step_lit.append(cells.flatten().nonzero().flatten().tolist())
        return mask

    def layer(self, i, x, mask):
        w = {k[len(f"model.layers.{i}."):]: v for k, v in self.w.items()
             if k.startswith(f"model.layers.{i}.")}
        T = len(x)
        pos = torch.arange(self.length, self.length + T)
        a = angles(pos)
        z = rms(x, w["input_layernorm.weight"])
        q = rotate((z @ w["self_attn.q_proj.weight"].T)
                   .reshape(T, H, C).transpose(0, 1), a.cos(), a.sin())
        k = rotate((z @ w["self_attn.k_proj.weight"].T)
                   .reshape(T, self.kv, C).transpose(0, 1), a.cos(), a.sin())
        v = (z @ w["self_attn.v_proj.weight"].T).reshape(
            T, self.kv, C).transpose(0, 1)
        if self.cache[i]:
            k = torch.cat([self.cache[i][0], k], 1)
            v = torch.cat([self.cache[i][1], v], 1)
        self.cache[i] = (k, v)
        group = H // self.kv
        K, V = (t.repeat_interleave(group, 0) for t in (k, v))
        s = q @ K.transpose(1, 2) / math.sqrt(C)
        s = s.masked_fill(torch.arange(K.shape[1]) > pos[:, None], -math.inf)
        p = s.softmax(-1)
        o = p @ V
        if self.on and i >= self.first and mask is not None and mask.any():
            f = self.fine[mask]
            cos, sin = (t[mask] for t in self.tables)
            Kh = rotate((f @ w["self_attn.k_proj_hd.weight"].T).reshape(
                -1, self.kv, C).transpose(0, 1), cos, sin)
            Vh = (f @ w["self_attn.v_proj_hd.weight"].T).reshape(
                -1, self.kv, C).transpose(0, 1)
            Kh, Vh = (t.repeat_interleave(group, 0) for t in (Kh, Vh))
            u = q[:, -1:] @ Kh.transpose(1, 2) / math.sqrt(C)
            joint = torch.cat([s[:, -1:], u], -1).softmax(-1)
            o[:, -1:] = joint @ torch.cat([V, Vh], 1)
        y = x + o.transpose(0, 1).reshape(T, H * C) @ \
            w["self_attn.o_proj.weight"].T
        r = rms(y, w["post_attention_layernorm.weight"])
        y = y + (F.silu(r @ w["mlp.gate_proj.weight"].T) *
                 (r @ w["mlp.up_proj.weight"].T)) @ \
            w["mlp.down_proj.weight"].T
        selects = self.first - 1 <= i < self.layers - 1
        return y, self.select(p[:, -1]) if selects else None

    def step(self, x):
        self.step_lit, mask = [], None
        for i in range(self.layers):
            x, mask = self.layer(i, x, mask)
        self.length += len(x)
        self.lit.append(self.step_lit)
        return rms(x[-1], self.w["model.norm.weight"]) @ \
            self.w["lm_head.weight"].T

    def generate(self, x, eos):
        self.lit, self.select_margin = [], math.inf
        logits, ids = [self.step(x)], []
        while True:
            ids.append(int(logits[-1].argmax()))
            if len(ids) == STEPS or ids[-1] == eos:
                break
            logits.append(self.step(
                self.w["model.embed_tokens.weight"][ids[-1:]]))
        two = torch.stack(logits).topk(2).values
        return ids, torch.stack(logits), float((two[:, 0] - two[:, 1]).min())


def look(tower, picture, g, zoom):
    """The picture's two looks: [g*g, 16] and [G*G, 16] line after line."""
    tile = g * PATCH
    side = zoom * tile
    processor = LlavaImageProcessor(do_pad=True, crop_size=side,
                                    size={"shortest_edge": side})
    X = torch.as_tensor(np.asarray(processor(
        images=[torch.from_numpy(picture).permute(2, 0, 1)],
        return_tensors="pt")["pixel_values"]))
    tiles = X.reshape(3, zoom, tile, zoom, tile).permute(1, 3, 0, 2, 4)
    low = F.interpolate(X, size=tile, mode="bilinear", antialias=True)
    out = [tower(t[None], output_hidden_states=True).hidden_states[-2][0, 1:]
           for t in (*tiles.reshape(-1, 3, tile, tile), low[0])]
    fine = torch.stack(out[:-1]).reshape(zoom, zoom, g, g, -1)
    return out[-1], fine.permute(0, 2, 1, 3, 4).reshape(zoom * g * zoom * g, -1)


def write_folder(folder, weights, tower, kv, threshold, g, zoom, layers, first):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    prefix = "model.vision_tower.vision_tower."
    state = {k if k.startswith("vision_model.") else f"vision_model.{k}": v
             for k, v in tower.state_dict().items()}
    weights = weights | {prefix + k: v.to(torch.bfloat16).contiguous()
                         for k, v in state.items()
                         if v.is_floating_point()}
    save_tensors(weights, f"{folder}/model.safetensors",
                 metadata={"format": "pt"})
    golden_folders.write_json(f"{folder}/config.json", {
        "model_type": "llava", "vocab_size": 448, "hidden_size": D,
        "intermediate_size": FF, "num_hidden_layers": layers,
        "num_attention_heads": H, "num_key_value_heads": kv,
        "rms_norm_eps": EPS, "max_position_embeddings": 4096,
        "mm_hidden_size": 16, "mm_projector_type": "mlp2x_gelu",
        "mm_vision_tower": "a/tower", "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch", "image_aspect_ratio": "pad",
        "mm_patch_merge_type": "flat", "mm_use_im_start_end": False,
        "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 3,
            "num_attention_heads": 2, "image_size": g * PATCH,
            "patch_size": PATCH},
        "extra": {"zoom_ratio": str(zoom),
                  "highres_size": str(zoom * g * PATCH),
                  "lowres_size": str(g * PATCH), "threshold": str(threshold),
                  "warmup": "10"} |
                 ({} if first == 9 else {"first_layer": str(first)})})
    golden_folders.write_json(f"{folder}/generation_config.json",
                              {"bos_token_id": 1, "eos_token_id": 2})
    golden_folders.write_json(f"{folder}/tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>",
        "eos_token": "</s>"})
    with open(f"{folder}/tokenizer.model", "wb") as f:
        f.write(base64.b64decode(
            golden_folders.text_fixture("sentencepiece")["model"]))


def prompt(question):
    """LLaVA's conversation, and its ids around the picture."""
    from sentencepiece import SentencePieceProcessor
    text = golden_folders.converse(question)
    library = SentencePieceProcessor(model_proto=base64.b64decode(
        golden_folders.text_fixture("sentencepiece")["model"]))
    before, after = (library.encode(t) for t in text.split("<image>"))
    return text, [1] + before, after


def make_case(weights, tower, shape, i, arrays):
    w, h = SIZES[i]
    _, _, g, zoom, _, _ = shape
    question = golden.QUESTIONS[i]
    text, before, after = prompt(question)
    low, fine = look(tower, golden.picture(w, h, i), g, zoom)
    results = []
    for on in (True, False):
        model = Model(weights, *shape, on)
        table = model.w["model.embed_tokens.weight"]
        packed, closer = model.project(low), model.project(fine)
        model.begin(len(before), (w, h), closer)
        results.append((model, model.generate(torch.cat(
            [table[before], packed, table[after]]), 2)))
    model, (ids, logits, margin) = results[0]
    for name, value in (("logits", logits), ("low", packed.mean(-1)),
                        ("fine", closer.mean(-1))):
        arrays[f"{i}.{name}"] = value.contiguous()
    print(f"{w}x{h} margin {margin:.4f} select {model.select_margin:.4f} lit",
          [[len(c) for c in s] for s in model.lit], flush=True)
    return {"width": w, "height": h, "seed": i, "question": question,
            "rendered": text, "prompt_ids": before + [440] + after,
            "ids": ids, "margin": margin,
            "select_margin": model.select_margin, "lit": model.lit,
            "plain_ids": results[1][1][0]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", nargs="?", default=f"{HERE}/golden-flex")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.names or FOLDERS:
        kv, threshold, seed, g, zoom, layers, first = FOLDERS[name]
        shape = kv, threshold, g, zoom, layers, first
        folder = f"{args.dir}/{name}"
        weights = make_weights(kv, seed, layers)
        tower = make_tower(seed, g)
        write_folder(folder, weights, tower, *shape)
        arrays, cases = {}, []
        with torch.no_grad():
            for i in range(len(SIZES)):
                cases.append(make_case(weights, tower, shape, i, arrays))
        save_tensors(arrays, f"{folder}/golden.safetensors")
        with open(f"{folder}/golden.json", "w") as f:
            json.dump({"cases": cases}, f, ensure_ascii=False)
            f.write("\n")


if __name__ == "__main__":
    main()
