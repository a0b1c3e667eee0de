# export.py - writes a trained model as a LlavaNext folder
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python export.py DIR/text.pt FOLDER
# bf16, the tensor names of published folders. The encoder's last layer, which
# this family never runs, is there as zeros.
import json
import os
import sys

import torch
from safetensors.torch import save_file

import language
import nets
import scenes

VISION_PREFIX = "vision_tower.vision_model."
TEXT_PREFIX = "language_model.model."
TEMPLATE = """\
{%- for message in messages %}
{%- if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}
{%- for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}
{%- for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}
"""


def split(tensors, weight, names, sizes):
    for name, part in zip(names, weight.split(sizes)):
        tensors[name] = part


def vision_tensors(state):
    v, w, p = nets.VISION, nets.VISION["width"], VISION_PREFIX
    out = {p + "embeddings.class_embedding": state["cls"],
           p + "embeddings.patch_embedding.weight": state["embed"].view(w, 3, v["patch"], v["patch"]),
           p + "embeddings.position_embedding.weight": state["pos"],
           p + "pre_layrnorm.weight": state["pre.weight"], p + "pre_layrnorm.bias": state["pre.bias"],
           p + "post_layernorm.weight": torch.ones(w), p + "post_layernorm.bias": torch.zeros(w)}
    for i in range(v["layers"] + 1):
        used = i < v["layers"]
        q = f"{p}encoder.layers.{i}."
        for part in ("weight", "bias"):
            s = {k: state[f"layers.{i if used else 0}.{k}.{part}"]
                 for k in ("norm1", "norm2", "qkv", "out", "fc1", "fc2")}
            if not used:
                s = {k: torch.zeros_like(t) for k, t in s.items()}
            out[q + "layer_norm1." + part], out[q + "layer_norm2." + part] = s["norm1"], s["norm2"]
            split(out, s["qkv"], [f"{q}self_attn.{n}_proj.{part}" for n in "qkv"], [w] * 3)
            out[q + "self_attn.out_proj." + part] = s["out"]
            out[q + "mlp.fc1." + part], out[q + "mlp.fc2." + part] = s["fc1"], s["fc2"]
    return out


def text_tensors(state):
    t = nets.TEXT
    d = t["width"] // t["heads"]
    p = TEXT_PREFIX
    out = {p + "embed_tokens.weight": state["embed.weight"], p + "norm.weight": state["norm.weight"],
           "language_model.lm_head.weight": state["head.weight"], "image_newline": state["newline"]}
    for i in (1, 2):
        for part in ("weight", "bias"):
            out[f"multi_modal_projector.linear_{i}.{part}"] = state[f"proj{i}.{part}"]
    for i in range(t["layers"]):
        q, s = f"{p}layers.{i}.", f"layers.{i}."
        out[q + "input_layernorm.weight"] = state[s + "norm1.weight"]
        out[q + "post_attention_layernorm.weight"] = state[s + "norm2.weight"]
        split(out, state[s + "qkv.weight"], [f"{q}self_attn.{n}_proj.weight" for n in "qkv"],
              [t["heads"] * d, t["kv_heads"] * d, t["kv_heads"] * d])
        out[q + "self_attn.o_proj.weight"] = state[s + "out.weight"]
        split(out, state[s + "gate_up.weight"], [f"{q}mlp.{n}_proj.weight" for n in ("gate", "up")],
              [t["ffn"]] * 2)
        out[q + "mlp.down_proj.weight"] = state[s + "down.weight"]
    return out


def configs():
    v, t, n = nets.VISION, nets.TEXT, len(language.pieces()[0])
    pins = [list(p) for p in scenes.PINPOINTS]
    config = {
        "architectures": ["LlavaNextForConditionalGeneration"], "model_type": "llava_next",
        "image_token_index": n, "pad_token_id": n + 1, "tie_word_embeddings": False,
        "projector_hidden_act": "gelu", "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default", "image_grid_pinpoints": pins, "dtype": "bfloat16",
        "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": v["width"], "intermediate_size": v["ffn"],
            "num_hidden_layers": v["layers"] + 1, "num_attention_heads": v["heads"],
            "image_size": v["tile"], "patch_size": v["patch"], "projection_dim": v["width"]},
        "text_config": {
            "model_type": "llama", "vocab_size": language.vocab_size(), "hidden_size": t["width"],
            "intermediate_size": t["ffn"], "num_hidden_layers": t["layers"],
            "num_attention_heads": t["heads"], "num_key_value_heads": t["kv_heads"],
            "rms_norm_eps": t["eps"], "rope_theta": t["theta"], "max_position_embeddings": 2048,
            "bos_token_id": 1, "eos_token_id": 2}}
    size = v["tile"]
    image = {
        "image_processor_type": "LlavaNextImageProcessor", "aspect_ratio_setting": "anyres",
        "do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True, "do_pad": True,
        "do_convert_rgb": True, "size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size},
        "image_grid_pinpoints": pins, "resample": 3, "rescale_factor": 0.00392156862745098,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        "processor_class": "LlavaNextProcessor"}
    return {
        "config.json": config, "preprocessor_config.json": image,
        "processor_config.json": {
            "processor_class": "LlavaNextProcessor", "image_token": "<image>", "patch_size": v["patch"],
            "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"},
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": n + 1},
        "tokenizer_config.json": {
            "tokenizer_class": "LlamaTokenizer", "processor_class": "LlavaNextProcessor",
            "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
            "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
            "image_token": "<image>", "model_max_length": 2048, "padding_side": "left"}}


def main():
    source, folder = sys.argv[1:3]
    state = torch.load(source, weights_only=False)
    os.makedirs(folder, exist_ok=True)
    tensors = {**vision_tensors(state["encoder"]), **text_tensors(state["model"])}
    save_file({k: v.detach().to(torch.bfloat16).contiguous() for k, v in tensors.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    for name, content in configs().items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(json.dumps(content, indent=2) + "\n")
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        f.write(json.dumps(language.tokenizer_json(), indent=1, ensure_ascii=False) + "\n")
    with open(os.path.join(folder, "chat_template.jinja"), "w") as f:
        f.write(TEMPLATE)


if __name__ == "__main__":
    main()
