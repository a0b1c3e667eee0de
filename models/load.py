# load.py - a checkpoint of either stage, or a folder that export.py wrote
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A folder goes the way of export.py back: to the names and stacked matrices of
# nets.py. What bf16 rounded stays rounded.
import os

import torch
from safetensors.torch import load_file

import nets
from export import TEXT_PREFIX, VISION_PREFIX


def stacked(tensors, names):
    return torch.cat([tensors[n] for n in names])


def vision_state(tensors):
    v, p = nets.VISION, VISION_PREFIX
    out = {"cls": tensors[p + "embeddings.class_embedding"],
           "embed": tensors[p + "embeddings.patch_embedding.weight"].flatten(1),
           "pos": tensors[p + "embeddings.position_embedding.weight"]}
    for part in ("weight", "bias"):
        out["pre." + part] = tensors[f"{p}pre_layrnorm.{part}"]
        for i in range(v["layers"]):
            q, s = f"{p}encoder.layers.{i}.", f"layers.{i}."
            for ours, theirs in (("norm1", "layer_norm1"), ("norm2", "layer_norm2"),
                                 ("out", "self_attn.out_proj"), ("fc1", "mlp.fc1"), ("fc2", "mlp.fc2")):
                out[f"{s}{ours}.{part}"] = tensors[f"{q}{theirs}.{part}"]
            out[f"{s}qkv.{part}"] = stacked(tensors, [f"{q}self_attn.{n}_proj.{part}" for n in "qkv"])
    return out


def text_state(tensors):
    p = TEXT_PREFIX
    out = {"embed.weight": tensors[p + "embed_tokens.weight"], "norm.weight": tensors[p + "norm.weight"],
           "head.weight": tensors["language_model.lm_head.weight"], "newline": tensors["image_newline"]}
    for i in (1, 2):
        for part in ("weight", "bias"):
            out[f"proj{i}.{part}"] = tensors[f"multi_modal_projector.linear_{i}.{part}"]
    for i in range(nets.TEXT["layers"]):
        q, s = f"{p}layers.{i}.", f"layers.{i}."
        for ours, theirs in (("norm1", "input_layernorm"), ("norm2", "post_attention_layernorm"),
                             ("out", "self_attn.o_proj"), ("down", "mlp.down_proj")):
            out[f"{s}{ours}.weight"] = tensors[f"{q}{theirs}.weight"]
        out[s + "qkv.weight"] = stacked(tensors, [f"{q}self_attn.{n}_proj.weight" for n in "qkv"])
        out[s + "gate_up.weight"] = stacked(tensors, [f"{q}mlp.{n}_proj.weight" for n in ("gate", "up")])
    return out


def folder(path):
    tensors = {k: t.float() for k, t in load_file(os.path.join(path, "model.safetensors")).items()}
    return {"encoder": vision_state(tensors), "model": text_state(tensors)}


def checkpoint(path):
    """{"encoder", "model", ...}: the states of both networks and what else
    train-text.py saved; of train-encoder.py only the first."""
    if os.path.isdir(path):
        return folder(path)
    state = torch.load(path, weights_only=False)
    if "encoder" in state:
        return state
    return {"encoder": {k[7:]: v for k, v in state["model"].items() if k.startswith("vision.")}}


def encoder(states):
    """The frozen encoder of what `checkpoint` returned."""
    vision = nets.Vision()
    vision.load_state_dict(states["encoder"])
    return vision.eval().requires_grad_(False)
