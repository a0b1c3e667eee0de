#!/usr/bin/env python3
# make-golden-policies.py - what transformers says with other policies' tokens
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   tests/make-golden-policies.py             rewrites tests/golden/*/policies.json
#   tests/make-golden-policies.py DIR [NAME...]   that of folders in DIR
#
# For folders that make-golden.py made, apart from which this can run: of each
# case of golden.json a list like its "kept" (policy, budget, params, order,
# per_tile, cut_margin, ids, margin), with
#
#   means   of each row over its features, before the projector
#   lines   rows that a newline follows, if any
#
# Rows are summed from transformers' hidden states by golden_policies.py and
# spliced into its language model.
import argparse
import importlib
import json
import os
import types

import torch
from transformers import AutoModelForImageTextToText

import golden_folders
import golden_policies
from golden_hired import Picture

golden = importlib.import_module("make-golden")

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ["llama3", "llava", "llava-full", "two-layers"]
KEPT = [("fastervlm", 0.2, {}), ("fastervlm", 0.2, {"reference": 1}),
        ("uniform", 0.2, {}), ("uniform", 0.1, {"reference": 1}),
        ("random", 0.2, {"seed": 3}),
        ("visionzip", 0.1, {}), ("visionzip", 0.3, {}),
        ("visionzip", 0.2, {"reference": 1, "dominant": 9, "contextual": 4}),
        ("prumerge", 0.2, {}), ("prumerge", 0.2, {"adaptive": 1}),
        ("prumerge", 0.2, {"reference": 1, "neighbours": 5}),
        ("prumerge-plus", 0.1, {}), ("prumerge-plus", 0.3, {"attention": 0.5}),
        ("prumerge-plus", 0.2, {"adaptive": 1}),
        ("prumerge-plus", 0.2, {"reference": 1})]
IN_PLACE = [("hired-plus", 0.2, {}), ("hired-plus", 0.4, {"lines": 1}),
            ("hired-plus", 0.7, {}), ("fastervlm", 0.2, {}), ("visionzip", 0.2, {}),
            ("prumerge", 0.2, {})]


def encoder_of(model):
    tower = model.model.vision_tower
    return getattr(tower, "vision_model", tower).encoder.layers


def see(model, pixels):
    """Hidden states with class tokens, and what the policies read."""
    config = model.config
    out = model.model.vision_tower(pixels, output_hidden_states=True,
                                   output_attentions=True)
    layers = config.vision_feature_layer
    layers = layers if isinstance(layers, list) else [layers]
    n, h = (config.vision_config.num_hidden_layers,
            config.vision_config.num_attention_heads)
    deepest = max(i % (n + 1) for i in layers)
    last, following = max(deepest - 1, 0), min(deepest, n - 1)
    blocks = encoder_of(model)

    def project(i, name):
        block = blocks[i]
        x = block.layer_norm1(out.hidden_states[i])
        return getattr(block.self_attn, name)(x)

    k = project(last, "k_proj")
    near = blocks[last].layer_norm1(out.hidden_states[last])[:, 1:]
    near = near / near.norm(dim=-1, keepdim=True)
    wide, q = project(following, "k_proj"), project(following, "q_proj")
    logits = (q[:, :1] @ wide.transpose(1, 2)) * wide.shape[-1] ** -0.5
    return types.SimpleNamespace(
        features=torch.cat([out.hidden_states[i] for i in layers], -1),
        first=out.attentions[0][0, :, 0, 1:].sum(0).double().numpy(),
        last=out.attentions[last][:, :, 0, 1:].sum(1).numpy(),
        near=near.flatten(0, 1).double().numpy(),
        key=k.unflatten(-1, (h, -1)).mean(2)[:, 1:].numpy(),
        next=logits.softmax(-1)[:, 0, 1:].numpy(), wide=wide[:, 1:].numpy())


def sums(p, seen, rows):
    """[n,C*layers] of rows."""
    flat = torch.cat([seen.features[:, 1:].flatten(0, 1),
                      seen.features[:, 0]])
    out = torch.zeros(len(rows), flat.shape[-1])
    for i, (_, row) in enumerate(rows):
        for token, weight in row.items():
            out[i] += weight * flat[token]
    return out


def keep(model, p, ids, seen):
    full = model.config.vision_feature_select_strategy == "full"
    image_id = model.config.image_token_index
    asked = [(*k, False) for k in KEPT] + [(*k, True) for k in IN_PLACE]
    for policy, budget, params, in_place in asked:
        choose = getattr(golden_policies, policy.replace("-", "_"))
        choice = choose(p, seen, budget, **params)
        if choice is None:
            continue
        rows, per_tile, cut, *lines = choice
        lines = lines[0] if lines else []
        order = [i for i, _ in rows]
        x = sums(p, seen, rows)
        means = x.mean(-1).tolist()
        if full:
            x = torch.cat([seen.features[0, :1], x])
        x = model.model.multi_modal_projector(x)
        for line in reversed(lines):
            at = full + line + 1
            x = torch.cat([x[:at], model.model.image_newline[None], x[at:]])
        if in_place:
            out, margin = golden.generate_in_place(
                model, ids, image_id, x, *p.places(order, full, lines))
        else:
            out, _, margin = golden.generate(model, ids, image_id, x)
        yield {"policy": policy, "budget": budget, "params": params,
               **({"in_place": True} if in_place else {}),
               "order": order, "per_tile": per_tile,
               **({"lines": lines} if lines else {}),
               "cut_margin": float(min(cut, 1e9)), "margin": margin, "ids": out,
               "means": [float("%.6g" % m) for m in means]}


def load_picture(folder, resampling, case):
    """Its tiles, and where they lie."""
    w, h = case["width"], case["height"]
    batch = folder.encode(case["rendered"], w, h, case["seed"], resampling)
    return golden.tiles(batch), Picture(w, h, *folder.grid(w, h), folder.side,
                                        folder.tile)


def make(path):
    model = AutoModelForImageTextToText.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager").eval()
    golden_folders.settle_end(model)
    folder = golden.Folder(model, path)
    with open(f"{path}/golden.json") as f:
        spec = json.load(f)
    out = []
    for case in spec["cases"]:
        with torch.no_grad():
            pixels, p = load_picture(folder, spec["resampling"], case)
            out.append(list(keep(model, p, case["prompt_ids"],
                                 see(model, pixels))))
        print(path, (case["width"], case["height"]),
              *("%.4f/%.4f" % (k["cut_margin"], k["margin"])
                for k in out[-1]), flush=True)
    with open(f"{path}/policies.json", "w") as f:
        json.dump(out, f)
        f.write("\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", nargs="?", default=f"{HERE}/golden")
    parser.add_argument("names", nargs="*", default=NAMES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.names:
        make(f"{args.dir}/{name}")


if __name__ == "__main__":
    main()
