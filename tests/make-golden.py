#!/usr/bin/env python3
# make-golden.py - what transformers computes from tiny random folders
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   tests/make-golden.py                      rewrites tests/golden/
#   tests/make-golden.py --seed 7 DIR [NAME...]   other random folders, into DIR
#
# `test-golden DIR` compares the folders of DIR. Each is a checkpoint folder as
# save_pretrained writes it (tensor names changed where it says so), and in it
#
#   golden.json         {"resampling": torchvision or pillow, "cases": [...]}
#   golden.safetensors  arrays of case i, named "i.NAME"
#
# A case is one picture and one question:
#   width, height, seed  the picture, see picture() below
#   question, rendered   before and after the chat template
#   prompt_ids           with the picture once, as the placeholder
#   pixels_crc           CRC-32 of the normalised tiles, f32 [P,3,T,T]
#   image_tokens         rows of "packed"
#   ids, margin          greedy continuation, eos included, and the least
#                        difference of the two largest logits on the way
#   kept                 for policies and budgets: order, per_tile, cut_margin
#                        (see golden_hired.py), ids, margin
# and its arrays:
#   features [P*N,C*layers]  (one row more, the first, with strategy "full")
#   cls_first [N], cls_last [P,N]  class attention summed over heads
#   packed [image_tokens,D], logits [steps,V]
#
# All is computed in f32 on the CPU from the folder as saved; versions are
# pinned in tests/requirements.txt.
import argparse
import glob
import json
import math
import os
import shutil
import zlib

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from safetensors.torch import save_file as save_tensors
from transformers import (AutoProcessor, CLIPImageProcessor,
                          CLIPImageProcessorPil, LlavaConfig,
                          LlavaForConditionalGeneration, LlavaNextConfig,
                          LlavaNextForConditionalGeneration,
                          LlavaNextImageProcessor, LlavaNextImageProcessorPil,
                          LlavaNextProcessor, LlavaProcessor,
                          PreTrainedTokenizerFast)

import golden_hired

HERE = os.path.dirname(os.path.abspath(__file__))
TILE, PATCH = 84, 14
SIDE = TILE // PATCH
PINPOINTS = [[84, 168], [168, 84], [168, 168], [252, 84], [84, 252]]
VISION = {"model_type": "clip_vision_model", "hidden_size": 32,
          "intermediate_size": 72, "num_hidden_layers": 4,
          "num_attention_heads": 4, "image_size": TILE, "patch_size": PATCH}
TEXT = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 88,
        "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096}
STEPS = 8
BUDGETS = [0.1, 0.2, 0.4]
SIZES = [(192, 144), (50, 50), (60, 200), (300, 100), (256, 144), (97, 61)]
QUESTIONS = ["What is shown in this image?", "Read the sign: 12345!",
             "Où est le café?"]
TEMPLATES = {"mistral": "mistral", "qwen2": "72b", "llama3": "llama3",
             "vicuna": "llava-1.5"}


def rope(kind, theta=1e4, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta,
                                **more}}


# name: tokenizer, then what differs from the plain case
FOLDERS = {
    "vicuna": ("vicuna", {"names": "old", "shards": "200KB"}),
    "mistral": ("vicuna", {
        "template": "mistral", "dtype": torch.float16, "names": "model",
        "text": {"model_type": "mistral", "sliding_window": 48}}),
    "qwen2": ("qwen2", {"names": "newest",
                        "text": {"model_type": "qwen2",
                                 **rope("default", 1e6)}}),
    "llama3": ("llama3", {"text": rope(
        "llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64)}),
    "two-layers": ("vicuna", {"top": {"vision_feature_layer": [-3, -2]},
                              "pillow": True, "dtype": torch.float32}),
    "tied-yarn": ("qwen2", {
        "top": {"tie_word_embeddings": True},
        "text": {"model_type": "qwen2", "tie_word_embeddings": True,
                 **rope("yarn", factor=4.0,
                        original_max_position_embeddings=64)}}),
    "bias-dynamic": ("vicuna", {
        "top": {"multimodal_projector_bias": False},
        "text": {"attention_bias": True, "mlp_bias": True,
                 "max_position_embeddings": 96,
                 **rope("dynamic", factor=3.0)}}),
    "llava": ("vicuna", {"llava": True, "text": rope("linear", factor=2.0)}),
    "llava-full": ("vicuna", {
        "llava": True, "pillow": True,
        "top": {"vision_feature_select_strategy": "full"}}),
}


def picture(w, h, seed):
    """8-bit RGB; the same formula as in tests/golden-load.c."""
    y, x = np.mgrid[:h, :w].astype(np.int64)
    rgb = np.stack([7 * x + 13 * y + ((x * y) >> 3) + 31 * seed,
                    x * x // 7 + 3 * y, x ^ (5 * y + seed)], -1)
    return (rgb & 255).astype(np.uint8)


def text_fixture(name):
    with open(f"{HERE}/golden-text/{name}.json") as f:
        return json.load(f)


def make_tokenizer(name, folder):
    spec = text_fixture(name)["tokenizer"]
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/tokenizer.json"
    with open(path, "w") as f:
        json.dump(spec, f, ensure_ascii=False)
    ids = {t["content"]: t["id"] for t in spec["added_tokens"]}
    names = {"vicuna": ("<s>", "</s>"), "qwen2": (None, "<|im_end|>"),
             "llama3": ("<|begin_of_text|>", "<|eot_id|>")}[name]
    tok = PreTrainedTokenizerFast(
        tokenizer_file=path, bos_token=names[0], eos_token=names[1],
        pad_token=names[1], extra_special_tokens={"image_token": "<image>"})
    return tok, ids, ids[names[1]]


def make_processor(kind, tokenizer, top, more):
    size = {"size": {"shortest_edge": TILE}, "crop_size": TILE}
    pil = more.get("pillow")
    template = next(t[1] for t in text_fixture("templates")["templates"]
                    if t[0] == more.get("template", TEMPLATES[kind]))
    common = {"tokenizer": tokenizer, "patch_size": PATCH,
              "num_additional_image_tokens": 1, "image_token": "<image>",
              "chat_template": template,
              "vision_feature_select_strategy":
                  top["vision_feature_select_strategy"]}
    if more.get("llava"):
        images = (CLIPImageProcessorPil if pil else CLIPImageProcessor)(**size)
        return LlavaProcessor(image_processor=images, **common)
    images = (LlavaNextImageProcessorPil if pil else LlavaNextImageProcessor)(
        image_grid_pinpoints=PINPOINTS, **size)
    return LlavaNextProcessor(image_processor=images, **common)


def randomise(model, seed):
    """Nothing near its default: a missing bias or norm weight must show."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            z = torch.randn(p.shape, generator=g)
            if name.endswith("bias"):
                z = 0.2 * z
            elif "norm" in name or "layrnorm" in name:
                z = 1 + 0.2 * z
            elif "lm_head" in name:
                z = 4 * z / math.sqrt(p.shape[-1])
            elif p.dim() > 1 and ("embed" not in name or "patch" in name):
                z = z / math.sqrt(p[0].numel())
            p.copy_(z)


def rename(folder, names):
    """Tensor names of other versions of transformers."""
    rules = {"old": [("vision_tower.", "vision_tower.vision_model.")],
             "model": [("language_model.model.", "model.language_model."),
                       ("language_model.lm_head.", "lm_head."),
                       ("vision_tower.", "model.vision_tower.vision_model."),
                       ("multi_modal_projector.",
                        "model.multi_modal_projector."),
                       ("image_newline", "model.image_newline")]}
    rules["newest"] = [rule if rule[0] != "vision_tower." else
                       ("vision_tower.", "model.vision_tower.")
                       for rule in rules["model"]]
    rules = rules[names]

    def new(name):
        for a, b in rules:
            if name.startswith(a):
                return b + name[len(a):]
        return name

    for path in glob.glob(f"{folder}/model*.safetensors"):
        tensors = load_file(path)
        save_tensors({new(k): v for k, v in tensors.items()}, path,
                     metadata={"format": "pt"})
        if names == "newest":
            shuffle(path)
    index = f"{folder}/model.safetensors.index.json"
    if os.path.exists(index):
        with open(index) as f:
            data = json.load(f)
        data["weight_map"] = {new(k): v
                              for k, v in data["weight_map"].items()}
        with open(index, "w") as f:
            json.dump(data, f, indent=1)


def shuffle(path):
    """The same tensors in another order, header and data apart."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    header.pop("__metadata__")
    names = sorted(header, key=lambda n: zlib.crc32(n.encode()))
    moved, out = {}, b""
    for name in names:
        a, b = header[name]["data_offsets"]
        moved[name] = {**header[name], "data_offsets": [len(out),
                                                        len(out) + b - a]}
        out += data[a:b]
    text = json.dumps({n: moved[n] for n in sorted(moved)[::-1]}).encode()
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + out)


def make_folder(folder, kind, more, seed):
    tokenizer, ids, eos = make_tokenizer(kind, folder)
    vocab = (max(ids.values()) + 64) // 32 * 32
    text = {**TEXT, "vocab_size": vocab, "eos_token_id": eos,
            **more.get("text", {})}
    top = {"image_token_index": ids["<image>"], "tie_word_embeddings": False,
           "vision_feature_layer": -2, "projector_hidden_act": "gelu",
           "vision_feature_select_strategy": "default",
           "vision_config": VISION, "text_config": text, **more.get("top", {})}
    if more.get("llava"):
        model = LlavaForConditionalGeneration(LlavaConfig.from_dict(top))
    else:
        top["image_grid_pinpoints"] = PINPOINTS
        model = LlavaNextForConditionalGeneration(
            LlavaNextConfig.from_dict(top))
    model.generation_config.eos_token_id = eos
    randomise(model, seed)
    model.to(more.get("dtype", torch.bfloat16)).save_pretrained(
        folder, max_shard_size=more.get("shards", "100MB"))
    make_processor(kind, tokenizer, top, more).save_pretrained(folder)
    kind_of = type(model)
    model = kind_of.from_pretrained(folder, dtype=torch.float32,
                                    attn_implementation="eager").eval()
    if "names" in more:
        rename(folder, more["names"])
    return model


def generate(model, ids, image_id, rows):
    """Greedy continuation of ids with rows in the placeholder's place."""
    at = ids.index(image_id)
    table = model.get_input_embeddings()
    x = torch.cat([table(torch.tensor(ids[:at], dtype=torch.long)), rows,
                   table(torch.tensor(ids[at + 1:], dtype=torch.long))])[None]
    out = model.generate(
        inputs_embeds=x, attention_mask=torch.ones(x.shape[:2]).long(),
        max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True,
        output_logits=True)
    logits = torch.cat(out.logits)
    two = logits.topk(2).values
    return (out.sequences[0].tolist(), logits,
            float((two[:, 0] - two[:, 1]).min()))


def see(model, pixels):
    """features [P*N(+1),C*layers] and the two taps."""
    config = model.config
    out = model.model.vision_tower(pixels, output_hidden_states=True,
                                   output_attentions=True)
    layers = config.vision_feature_layer
    layers = layers if isinstance(layers, list) else [layers]
    x = torch.cat([out.hidden_states[i] for i in layers], -1)
    if config.vision_feature_select_strategy == "default":
        x = x[:, 1:]
    last = max(i % (VISION["num_hidden_layers"] + 1) for i in layers) - 1
    return (x.reshape(-1, x.shape[-1]),
            out.attentions[0][0, :, 0, 1:].sum(0).numpy(),
            out.attentions[last][:, :, 0, 1:].sum(1).numpy())


def keep(model, p, ids, features, a0, last, packed):
    full = model.config.vision_feature_select_strategy == "full"
    for name in ("hired", "hired-reference"):
        choose = getattr(golden_hired,
                         "paper" if name == "hired" else "reference")
        for budget in BUDGETS:
            choice = choose(p, a0, last, budget)
            if choice is None:
                continue
            order, per_tile, cut = choice
            rows = [0] + [1 + i for i in order] if full else order
            rows = model.model.multi_modal_projector(features[rows])
            out, _, margin = generate(
                model, ids, model.config.image_token_index, rows)
            yield {"policy": name, "budget": budget, "order": order,
                   "per_tile": per_tile,
                   "cut_margin": min(cut, 1e9), "margin": margin, "ids": out}


def make_case(model, processor, size, seed, question, arrays, prefix):
    w, h = size
    config = model.config
    chat = [{"role": "user", "content": [
        {"type": "image"}, {"type": "text", "text": question}]}]
    rendered = processor.apply_chat_template(chat, add_generation_prompt=True)
    image = torch.from_numpy(picture(w, h, seed)).permute(2, 0, 1)
    batch = processor(text=[rendered], images=[image], return_tensors="pt")
    expanded = batch["input_ids"][0].tolist()
    image_id = config.image_token_index
    at = expanded.index(image_id)
    n_image = expanded.count(image_id)
    ids = expanded[:at + 1] + expanded[at + n_image:]
    pixels = batch["pixel_values"]
    more = {} if "image_sizes" not in batch else {
        "image_sizes": batch["image_sizes"]}
    with torch.no_grad():
        packed = model.model.get_image_features(
            pixels, return_dict=True, **more).pooler_output
        packed = packed[0].reshape(-1, config.text_config.hidden_size)
        assert len(packed) == n_image
        pixels = pixels[0] if more else pixels
        features, a0, last = see(model, pixels)
        out, logits, margin = generate(model, ids, image_id, packed)
        rows, cols = grid(w, h) if more else (0, 0)
        p = golden_hired.Picture(w, h, rows, cols, SIDE, TILE)
        kept = list(keep(model, p, ids, features, a0, last, packed))
    for name, value in (("features", features), ("cls_first", a0),
                        ("cls_last", last), ("packed", packed),
                        ("logits", logits)):
        arrays[prefix + name] = np.ascontiguousarray(value, np.float32)
    return {"width": w, "height": h, "seed": seed, "question": question,
            "rendered": rendered, "prompt_ids": ids,
            "pixels_crc": zlib.crc32(np.ascontiguousarray(pixels).tobytes()),
            "image_tokens": n_image, "ids": out, "margin": margin,
            "kept": kept}


def grid(w, h):
    from transformers.image_processing_utils import select_best_resolution
    H, W = select_best_resolution((h, w), PINPOINTS)
    return H // TILE, W // TILE


def make(name, folder, seed):
    kind, more = FOLDERS[name]
    shutil.rmtree(folder, ignore_errors=True)
    seed = zlib.crc32(name.encode()) + seed
    model = make_folder(folder, kind, more, seed)
    backend = {"backend": "pil"} if more.get("pillow") else {}
    processor = AutoProcessor.from_pretrained(folder, **backend)
    arrays, cases = {}, []
    for i in range(3):
        size = SIZES[(seed + i * 2 + i // 2) % len(SIZES)]
        cases.append(make_case(model, processor, size, i,
                               QUESTIONS[i], arrays, f"{i}."))
        print(name, size, "margin %.4f" % cases[-1]["margin"],
              *("%.4f/%.4f" % (k["cut_margin"], k["margin"])
                for k in cases[-1]["kept"]), flush=True)
    save_file(arrays, f"{folder}/golden.safetensors")
    with open(f"{folder}/golden.json", "w") as f:
        json.dump({"resampling": "pillow" if more.get("pillow")
                   else "torchvision", "cases": cases}, f,
                  ensure_ascii=False)
        f.write("\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("dir", nargs="?", default=f"{HERE}/golden")
    parser.add_argument("names", nargs="*", default=list(FOLDERS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.names:
        make(name, f"{args.dir}/{name}", args.seed)


if __name__ == "__main__":
    main()
