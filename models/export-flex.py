# export-flex.py - writes a FlexAttention model as LLaVA's own repository would
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python export-flex.py DIR/flex.pt FOLDER [--threshold 48]
# bf16, the names of the released folder, its `extra` with strings. first_layer
# is a key of ours: in the release it is a constant. With a threshold of 255
# nothing is selected: the same model without a second look.
import argparse
import json
import os

import torch
from safetensors.torch import save_file

import export
import flex
import language
import nets
import scenes

# In order: the second prefix is the beginning of the first.
RENAMED = [("vision_tower.", "model.vision_tower.vision_tower."), ("language_model.lm_head.", "lm_head."),
           ("language_model.model.", "model."), ("multi_modal_projector.linear_1.", "model.mm_projector.0."),
           ("multi_modal_projector.linear_2.", "model.mm_projector.2.")]


def renamed(tensors):
    return {to + name[len(start):]: t for start, to in RENAMED for name, t in tensors.items()
            if name.startswith(start)}


def fine_tensors(state):
    return {f"model.layers.{i}.self_attn.{name}_proj_hd.weight": state[f"layers.{i}.fine_{name}.weight"]
            for i in range(flex.FIRST, nets.TEXT["layers"]) for name in "kv"}


def config(threshold):
    of_next = export.configs()["config.json"]
    text = {k: v for k, v in of_next["text_config"].items() if k != "model_type"}
    high = flex.ZOOM * scenes.TILE
    return {"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", **text,
            "mm_hidden_size": nets.VISION["width"], "mm_projector_type": "mlp2x_gelu",
            "mm_vision_tower": "tower", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
            "image_aspect_ratio": "pad", "mm_patch_merge_type": "flat", "mm_use_im_start_end": False,
            "vision_config": of_next["vision_config"], "dtype": "bfloat16",
            "extra": {"zoom_ratio": str(flex.ZOOM), "highres_size": str(high), "lowres_size": str(scenes.TILE),
                      "threshold": str(threshold), "first_layer": str(flex.FIRST)}}


def write(source, folder, threshold=flex.THRESHOLD):
    state = torch.load(source, weights_only=False)
    os.makedirs(folder, exist_ok=True)
    text = {k: v for k, v in export.text_tensors(state["model"]).items() if k != "image_newline"}
    tensors = {**renamed({**export.vision_tensors(state["encoder"]), **text}), **fine_tensors(state["model"])}
    save_file({k: v.detach().to(torch.bfloat16).contiguous() for k, v in tensors.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    files = {name: content for name, content in export.configs().items()
             if name in ("generation_config.json", "tokenizer_config.json")}
    files["config.json"] = config(threshold)
    files["tokenizer.json"] = language.tokenizer_json()
    for name, content in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    with open(os.path.join(folder, "chat_template.jinja"), "w") as f:
        f.write(export.TEMPLATE)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("source")
    ap.add_argument("folder")
    ap.add_argument("--threshold", type=int, default=flex.THRESHOLD)
    a = ap.parse_args()
    write(a.source, a.folder, a.threshold)


if __name__ == "__main__":
    main()
