# golden_folders.py - tiny random checkpoint folders, in the ways they are saved
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A folder is a line of FOLDERS or a draw(): a dictionary of what differs from
# the plain case, an F32 llava_next folder as save_pretrained writes it.
#   tokenizer    vicuna, qwen2, llama3 or sentencepiece: of tests/golden-text/
#   original     as LLaVA's own repository writes it; "tower": with the vision
#                tower in a folder of its own, tower/
#   template     name in tests/golden-text/templates.json
#   place        where the template stands: jinja, json (chat_template.json),
#                processor, tokenizer, list (both in tokenizer_config.json)
#   llava        LLaVA 1.5; "pad": with LlavaImageProcessor's padding
#   pillow       resampling of the main run
#   tile, patch  pixels
#   vision, text, top, image
#                keys of vision_config, text_config, config.json and the image
#                processor; None is written as null
#   pinpoints    [rows, columns] of tiles
#   dtype, names, shards, shuffle
#                of the weights, names as rename() has them
#   sparse       config.json without the keys that equal class defaults
#   old_rope     rope_theta and rope_scaling instead of rope_parameters
#   old_files    preprocessor_config.json beside a flat processor_config.json,
#                special_tokens_map.json beside tokenizer_config.json
#   generation   keys of generation_config.json; False: no such file
#   extra        keys of config.json that mean nothing
import base64
import glob
import json
import math
import os
import random
import shutil
import zlib

import torch
from safetensors.torch import load_file
from safetensors.torch import save_file as save_tensors
from sentencepiece import SentencePieceProcessor
from transformers import (AutoProcessor, CLIPImageProcessor, CLIPVisionConfig,
                          LlamaConfig, LlavaConfig,
                          LlavaForConditionalGeneration, LlavaImageProcessor,
                          LlavaNextConfig, LlavaNextForConditionalGeneration,
                          LlavaNextImageProcessor, LlavaNextProcessor,
                          LlavaProcessor, MistralConfig,
                          PreTrainedTokenizerFast, Qwen2Config)

HERE = os.path.dirname(os.path.abspath(__file__))
PINPOINTS = [[1, 2], [2, 1], [2, 2], [3, 1], [1, 3]]
VISION = {"model_type": "clip_vision_model", "hidden_size": 32,
          "intermediate_size": 72, "num_hidden_layers": 4,
          "num_attention_heads": 4}
TEXT = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 88,
        "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096}
TEMPLATES = {"mistral": "mistral", "sentencepiece": "vicuna", "qwen2": "72b", "llama3": "llama3",
             "vicuna": "llava-1.5"}
CLASSES = {"llama": LlamaConfig, "mistral": MistralConfig,
           "qwen2": Qwen2Config}


def rope(kind, theta=1e4, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta,
                                **more}}


FOLDERS = {
    "vicuna": {"names": "old", "shards": "200KB", "dtype": torch.bfloat16},
    "mistral": {
        "template": "mistral", "dtype": torch.float16, "names": "model",
        "place": "json", "text": {"model_type": "mistral",
                                  "sliding_window": 48}},
    "mistral-whole": {
        "template": "mistral", "dtype": torch.bfloat16, "place": "list",
        "old_files": True, "sparse": True, "old_rope": True,
        "text": {"model_type": "mistral", "sliding_window": None,
                 "head_dim": 24, "num_key_value_heads": 4, **rope("default",
                                                                  1e6)}},
    "qwen2": {"tokenizer": "qwen2", "names": "newest", "shuffle": True,
              "dtype": torch.bfloat16, "place": "tokenizer",
              "text": {"model_type": "qwen2", **rope("default", 1e6)}},
    "qwen2-window": {
        "tokenizer": "qwen2", "dtype": torch.bfloat16, "place": "processor",
        "generation": False, "extra": True,
        "text": {"model_type": "qwen2", "use_sliding_window": True,
                 "sliding_window": 40, "layer_types": [
                     "sliding_attention", "full_attention",
                     "sliding_attention"]}},
    "llama3": {"tokenizer": "llama3", "dtype": torch.bfloat16, "text": rope(
        "llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64)},
    "two-layers": {"top": {"vision_feature_layer": [-3, -2]}, "pillow": True},
    "tied-yarn": {
        "tokenizer": "qwen2", "dtype": torch.bfloat16,
        "top": {"tie_word_embeddings": True},
        "text": {"model_type": "qwen2", "tie_word_embeddings": True,
                 **rope("yarn", factor=4.0,
                        original_max_position_embeddings=64)}},
    "bias-dynamic": {
        "dtype": torch.bfloat16, "old_rope": True,
        "top": {"multimodal_projector_bias": False},
        "text": {"attention_bias": True, "mlp_bias": True,
                 "max_position_embeddings": 96,
                 **rope("dynamic", factor=3.0)}},
    "odd": {
        "dtype": torch.bfloat16, "sparse": True, "tile": 60, "patch": 12,
        "pinpoints": [[2, 1], [1, 4], [3, 2], [1, 1]],
        "generation": {"eos_token_id": [2, 9, 40]},
        "image": {"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        "top": {"projector_hidden_act": "quick_gelu",
                "vision_feature_layer": [-1, 2, 1]},
        "vision": {"hidden_size": 30, "num_attention_heads": 3,
                   "intermediate_size": 77, "hidden_act": "gelu",
                   "num_hidden_layers": 3, "layer_norm_eps": 1e-4},
        "text": {"hidden_size": 42, "num_attention_heads": 3, "vocab": 5,
                 "num_key_value_heads": None, "intermediate_size": 91,
                 "rms_norm_eps": 1e-6}},
    "llava": {"llava": True, "dtype": torch.bfloat16,
              "text": rope("linear", factor=2.0)},
    "original": {"original": True, "tokenizer": "sentencepiece",
                 "llava": "pad", "pillow": True, "dtype": torch.bfloat16},
    "original-next": {"original": "tower", "tokenizer": "sentencepiece",
                      "dtype": torch.float16, "shards": "150KB",
                      "image": {"image_std": [0.3] * 3}},
    "llava-full": {
        "llava": "pad", "pillow": True, "dtype": torch.bfloat16,
        "image": {"do_normalize": False},
        "top": {"vision_feature_select_strategy": "full"}},
}


def draw(rng):
    """Another folder, of anything that a checkpoint may say."""
    one = rng.choice
    more = {"tokenizer": one(["vicuna", "qwen2", "llama3"]),
            "place": one(["jinja", "json", "processor", "tokenizer", "list"]),
            "names": one([None, "old", "model", "newest"]),
            "dtype": one([torch.float32, torch.bfloat16, torch.float16]),
            "shards": one(["100MB", "100MB", "150KB"]),
            "llava": one([False, False, False, True, "pad"]),
            "pillow": one([False, True])}
    for flag in ("sparse", "old_rope", "old_files", "extra"):
        more[flag] = rng.random() < 0.5
    more["shuffle"] = more["shards"] == "100MB" and rng.random() < 0.5
    more["template"] = one(["llava-1.5", "vicuna", "mistral", "34b", "72b",
                            "llama3"])
    more["patch"], side = one([(14, 6), (14, 4), (8, 7), (16, 5), (7, 6),
                               (12, 8), (32, 3)])
    more["tile"] = more["patch"] * side
    more["pinpoints"] = rng.sample(PINPOINTS + [[1, 4], [2, 3], [3, 2],
                                                [1, 1], [4, 1]],
                                   rng.randint(1, 8))
    more["generation"] = one([None, None, False, {"eos_token_id": [1, 2, 40]},
                              {"eos_token_id": 7}])
    draw_vision(rng, more)
    draw_text(rng, more)
    more["image"] = one([{}, {}, {"do_normalize": False},
                         {"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
                         {"rescale_factor": 1 / 127.5}, {"do_rescale": False}])
    return more


def draw_vision(rng, more):
    one = rng.choice
    heads, width = one([1, 2, 3, 4, 12]), one([4, 6, 8, 10, 16, 24, 32, 40,
                                               64, 72, 80, 88, 96, 128])
    layers = rng.randint(2, 5)
    more["vision"] = {
        "num_attention_heads": heads, "hidden_size": heads * width,
        "intermediate_size": rng.randint(20, 150),
        "num_hidden_layers": layers,
        "hidden_act": one(["quick_gelu", "quick_gelu", "gelu"]),
        "layer_norm_eps": one([1e-5, 1e-5, 1e-6, 1e-3])}
    deep = [i for i in range(-layers, layers + 1) if i % (layers + 1)]
    more["top"] = {
        "vision_feature_layer": one([-2, -2, -1, one(deep),
                                     [one(deep), one(deep)],
                                     [one(deep) for _ in range(4)]]),
        "multimodal_projector_bias": rng.random() < 0.7,
        "projector_hidden_act": one(["gelu", "gelu", "quick_gelu"]),
        "vision_feature_select_strategy":
            one(["default", "full"]) if more["llava"] else "default"}


def draw_text(rng, more):
    one = rng.choice
    kind = one(["llama", "mistral", "qwen2"])
    width = one([8, 10, 16, 24, 32, 48, 64, 80, 96, 112, 128])
    kv, group = one([1, 1, 2, 3]), one([1, 2, 3, 4])
    heads = kv * group
    if rng.random() < 0.15:
        heads, kv, width = 32, one([None, 8]), 4
    text = {"model_type": kind, "num_attention_heads": heads,
            "num_key_value_heads": kv, "hidden_size": heads * width,
            "intermediate_size": rng.randint(20, 200),
            "num_hidden_layers": rng.randint(1, 4),
            "rms_norm_eps": one([1e-5, 1e-6, 1e-6, 1e-4]),
            "max_position_embeddings": one([4096, 64, 2048]),
            "vocab": rng.randint(0, 90)}
    if kind == "mistral" or kind == "llama" and rng.random() < 0.2:
        text["head_dim"] = one([None, width, 8, 20, 64])
    if text["num_key_value_heads"] == heads and rng.random() < 0.5 or \
            text["num_key_value_heads"] is None:
        text["num_key_value_heads"] = heads if kind == "mistral" else None
    if kind == "llama":
        text["attention_bias"] = rng.random() < 0.3
        text["mlp_bias"] = rng.random() < 0.3
    if kind == "mistral":
        text["sliding_window"] = one([None, 4096, 48, 2, 100])
    if kind == "qwen2":
        draw_window(rng, text)
    tied = rng.random() < 0.25
    text["tie_word_embeddings"] = more["top"]["tie_word_embeddings"] = tied
    theta, before = one([1e4, 1e4, 5e5, 1e6]), one([32, 64])
    text.update(one([
        rope("default", theta), rope("default", theta),
        rope("linear", theta, factor=one([2.0, 3.5])),
        rope("dynamic", theta, factor=one([2.0, 4.0])),
        rope("llama3", theta, factor=8.0, low_freq_factor=1.0,
             high_freq_factor=4.0, original_max_position_embeddings=before),
        rope("yarn", theta, factor=4.0,
             original_max_position_embeddings=before),
        rope("yarn", theta, factor=2.5, beta_fast=16.0, beta_slow=2.0,
             attention_factor=1.3, original_max_position_embeddings=before),
        rope("yarn", theta, factor=4.0, mscale=1.0, mscale_all_dim=0.7,
             truncate=False, original_max_position_embeddings=before)]))
    more["text"] = text


def draw_window(rng, text):
    layers = text["num_hidden_layers"]
    text["use_sliding_window"] = on = rng.random() < 0.6
    text["sliding_window"] = rng.choice([30, 70, 4096])
    text["max_window_layers"] = rng.choice([28, 0, 1, 2])
    if rng.random() < 0.5:
        text["layer_types"] = [
            rng.choice(["full_attention", "sliding_attention"])
            if on else "full_attention" for _ in range(layers)]


def text_fixture(name):
    with open(f"{HERE}/golden-text/{name}.json") as f:
        return json.load(f)


def template(more):
    name = more.get("template", TEMPLATES[more.get("tokenizer", "vicuna")])
    return next(t[1] for t in text_fixture("templates")["templates"]
                if t[0] == name)


def make_tokenizer(name, folder):
    spec = text_fixture(name)["tokenizer"]
    if "<image>" not in (t["content"] for t in spec["added_tokens"]):
        spec["added_tokens"].append({
            **spec["added_tokens"][0], "content": "<image>",
            "id": len(spec["model"]["vocab"])})
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/tokenizer.json"
    with open(path, "w") as f:
        json.dump(spec, f, ensure_ascii=False)
    ids = {t["content"]: t["id"] for t in spec["added_tokens"]}
    names = {"vicuna": ("<s>", "</s>"), "sentencepiece": ("<s>", "</s>"), "qwen2": (None, "<|im_end|>"),
             "llama3": ("<|begin_of_text|>", "<|eot_id|>")}[name]
    tok = PreTrainedTokenizerFast(
        tokenizer_file=path, bos_token=names[0], eos_token=names[1],
        pad_token=names[1], extra_special_tokens={"image_token": "<image>"})
    return tok, ids, ids[names[1]]


def make_processor(tokenizer, top, more, tile, patch):
    size = {"size": {"shortest_edge": tile}, "crop_size": tile,
            **more.get("image", {})}
    common = {"tokenizer": tokenizer, "patch_size": patch,
              "num_additional_image_tokens": 1, "image_token": "<image>",
              "chat_template": template(more),
              "vision_feature_select_strategy":
                  top["vision_feature_select_strategy"]}
    if more.get("llava") == "pad":
        images = LlavaImageProcessor(do_pad=True, **size)
        return LlavaProcessor(image_processor=images, **common)
    if more.get("llava"):
        return LlavaProcessor(image_processor=CLIPImageProcessor(**size),
                              **common)
    images = LlavaNextImageProcessor(
        image_grid_pinpoints=top["image_grid_pinpoints"], **size)
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
    rules["original"] = [
        ("language_model.model.", "model."),
        ("language_model.lm_head.", "lm_head."),
        ("vision_tower.", "model.vision_tower.vision_tower.vision_model."),
        ("multi_modal_projector.linear_1.", "model.mm_projector.0."),
        ("multi_modal_projector.linear_2.", "model.mm_projector.2."),
        ("image_newline", "model.image_newline")]
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
    index = f"{folder}/model.safetensors.index.json"
    if os.path.exists(index):
        with edited(index) as data:
            data["weight_map"] = {new(k): v
                                  for k, v in data["weight_map"].items()}


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


class edited:
    """with edited(path) as data: the JSON file changes as data does."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        with open(self.path) as f:
            self.data = json.load(f)
        return self.data

    def __exit__(self, *_):
        with open(self.path, "w") as f:
            json.dump(self.data, f, ensure_ascii=False, indent=1)
            f.write("\n")


def drop_defaults(config, defaults):
    for key in list(config):
        if key in defaults and config[key] == defaults[key]:
            del config[key]


def edit_config(folder, more):
    with edited(f"{folder}/config.json") as config:
        text, vision = config["text_config"], config["vision_config"]
        for key, value in more.get("text", {}).items():
            if value is None:
                text[key] = None
        if more.get("sparse"):
            kind = text["model_type"]
            keep = {k: text[k] for k, v in more.get("text", {}).items()
                    if v is None}
            defaults = CLASSES[kind]().to_dict()
            defaults["head_dim"] = (text["hidden_size"] //
                                    text["num_attention_heads"])
            defaults["layer_types"] = text.get("layer_types") \
                if "layer_types" not in more.get("text", {}) else None
            if kind == "llama":
                defaults["num_key_value_heads"] = text["num_attention_heads"]
            if text["rope_parameters"]["rope_type"] == "default":
                defaults["rope_parameters"] = {"rope_type": "default",
                                               "rope_theta": 1e4}
            if kind != "llama":
                del defaults["model_type"]
            drop_defaults(text, defaults)
            text.update(keep)
            drop_defaults(vision, CLIPVisionConfig().to_dict())
            drop_defaults(config, (LlavaConfig if more.get("llava") else
                                   LlavaNextConfig)().to_dict() |
                          {"model_type": 0, "text_config": 0,
                           "vision_config": 0})
        if more.get("old_rope") and "rope_parameters" in text:
            old = text.pop("rope_parameters")
            text["rope_theta"] = old.pop("rope_theta")
            if more.get("sparse"):
                old["type"] = old.pop("rope_type")
            plain = "default" in old.values()
            text["rope_scaling"] = None if plain else old
        if more.get("extra"):
            config.update({"use_image_newline_parameter": True,
                           "ignore_index": -100, "vocab_size": 7,
                           "image_seq_length": 11,
                           "torch_dtype": "float16"})
            text["pretraining_tp"] = 1


def edit_generation(folder, more):
    path = f"{folder}/generation_config.json"
    if more.get("generation") is False:
        os.remove(path)
    elif more.get("generation"):
        with edited(path) as config:
            config.update(more["generation"])


def move_template(folder, place):
    """The chat template from chat_template.jinja to where older versions
    have it."""
    path = f"{folder}/chat_template.jinja"
    if place == "jinja":
        return
    with open(path) as f:
        text = f.read()
    os.remove(path)
    if place == "json":
        with open(f"{folder}/chat_template.json", "w") as f:
            json.dump({"chat_template": text}, f)
            f.write("\n")
        return
    name = "processor" if place == "processor" else "tokenizer"
    with edited(f"{folder}/{name}_config.json") as config:
        config["chat_template"] = text if place != "list" else [
            {"name": "tool_use", "template": "none"},
            {"name": "default", "template": text}]


def split_files(folder):
    with edited(f"{folder}/processor_config.json") as config:
        image = config.pop("image_processor")
    with open(f"{folder}/preprocessor_config.json", "w") as f:
        json.dump(image, f, indent=1)
        f.write("\n")
    names = ("bos_token", "eos_token", "pad_token", "image_token")
    with edited(f"{folder}/tokenizer_config.json") as config:
        special = {k: config.pop(k) for k in names if k in config}
        config["eos_token"] = "nothing"
    for key in ("bos_token", "eos_token"):
        if special.get(key):
            special[key] = {"content": special[key], "lstrip": False,
                            "normalized": False, "rstrip": False,
                            "single_word": False}
    with open(f"{folder}/special_tokens_map.json", "w") as f:
        json.dump(special, f, indent=1)
        f.write("\n")


def make_folder(folder, more, seed):
    shutil.rmtree(folder, ignore_errors=True)
    kind = more.get("tokenizer", "vicuna")
    tile, patch = more.get("tile", 84), more.get("patch", 14)
    tokenizer, ids, eos = make_tokenizer(kind, folder)
    text = {**TEXT, "eos_token_id": eos, **more.get("text", {})}
    text["vocab_size"] = (max(ids.values()) + 1 + text.pop("vocab")
                          if "vocab" in text else
                          (max(ids.values()) + 64) // 32 * 32)
    vision = {**VISION, "image_size": tile, "patch_size": patch,
              **more.get("vision", {})}
    top = {"image_token_index": ids["<image>"], "tie_word_embeddings": False,
           "vision_feature_layer": -2, "projector_hidden_act": "gelu",
           "vision_feature_select_strategy": "default",
           "vision_config": vision, "text_config": text, **more.get("top", {})}
    if more.get("llava"):
        kind_of = LlavaForConditionalGeneration
        model = kind_of(LlavaConfig.from_dict(top))
    else:
        top["image_grid_pinpoints"] = [
            [tile * r, tile * c] for r, c in more.get("pinpoints", PINPOINTS)]
        kind_of = LlavaNextForConditionalGeneration
        model = kind_of(LlavaNextConfig.from_dict(top))
    model.generation_config.eos_token_id = eos
    randomise(model, seed)
    model.to(more.get("dtype", torch.float32)).save_pretrained(
        folder, max_shard_size=more.get("shards", "100MB"))
    make_processor(tokenizer, top, more, tile, patch).save_pretrained(folder)
    edit_config(folder, more)
    edit_generation(folder, more)
    move_template(folder, more.get("place", "jinja"))
    if more.get("old_files"):
        split_files(folder)
    model = kind_of.from_pretrained(folder, dtype=torch.float32,
                                    attn_implementation="eager").eval()
    settle_end(model)
    for p in model.parameters():  # the file they are mapped from may change
        p.data = p.data.clone()
    if more.get("names"):
        rename(folder, more["names"])
    if more.get("shuffle"):
        shuffle(f"{folder}/model.safetensors")
    return model


def settle_end(model):
    """Without generation_config.json transformers 5 forgets the end token that
    the text config has by default; earlier versions took it."""
    if model.generation_config.eos_token_id is None:
        end = model.config.text_config.eos_token_id
        model.generation_config.eos_token_id = end


TOP_KEYS = ("vocab_size", "hidden_size", "intermediate_size",
            "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "rms_norm_eps", "max_position_embeddings", "eos_token_id")


def write_json(path, data):
    with open(path, "w") as f:
        json.dump(data, f, indent=1)
        f.write("\n")


def move_tower(folder, vision, image):
    """The vision tower to a folder of its own, as CLIP's are."""
    os.makedirs(f"{folder}/tower")
    prefix, tower, index = "model.vision_tower.vision_tower.", {}, {}
    for path in sorted(glob.glob(f"{folder}/model*.safetensors")):
        tensors = load_file(path)
        tower |= {k[len(prefix):]: v for k, v in tensors.items()
                  if k.startswith(prefix)}
        rest = {k: v for k, v in tensors.items() if not k.startswith(prefix)}
        index |= dict.fromkeys(rest, os.path.basename(path))
        os.remove(path)
        if rest:
            save_tensors(rest, path, metadata={"format": "pt"})
    if os.path.exists(f"{folder}/model.safetensors.index.json"):
        with edited(f"{folder}/model.safetensors.index.json") as data:
            data["weight_map"] = index
    tower["text_model.final_layer_norm.weight"] = torch.ones(3)
    save_tensors(tower, f"{folder}/tower/model.safetensors",
                 metadata={"format": "pt"})
    write_json(f"{folder}/tower/config.json",
               {"model_type": "clip", "vision_config": vision})
    keys = ("size", "crop_size", "image_mean", "image_std", "rescale_factor",
            "resample", "do_normalize", "do_rescale")
    write_json(f"{folder}/tower/preprocessor_config.json", {
        "image_processor_type": "CLIPImageProcessor",
        **{k: image[k] for k in keys if k in image}})


def write_original(source, folder, more):
    """A folder of transformers' as LLaVA's own repository has it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for path in glob.glob(f"{source}/model*"):
        shutil.copy(path, folder)
    rename(folder, "original")
    with open(f"{source}/config.json") as f:
        config = json.load(f)
    with open(f"{source}/processor_config.json") as f:
        image = json.load(f)["image_processor"]
    new = {k: config["text_config"][k] for k in TOP_KEYS}
    new |= {"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"],
            "mm_hidden_size": config["vision_config"]["hidden_size"],
            "mm_projector_type": "mlp2x_gelu", "mm_vision_tower": "a/tower",
            "mm_vision_select_layer": config["vision_feature_layer"],
            "mm_vision_select_feature": "patch",
            "mm_use_im_start_end": False, "mm_use_im_patch_token": False,
            "image_aspect_ratio": "pad", "mm_patch_merge_type": "flat"}
    if "image_grid_pinpoints" in config:
        new |= {"image_aspect_ratio": "anyres",
                "mm_patch_merge_type": "spatial_unpad",
                "image_grid_pinpoints": config["image_grid_pinpoints"]}
    new |= more.get("mm", {})
    if more["original"] == "tower":
        move_tower(folder, config["vision_config"], image)
    else:
        new["vision_config"] = config["vision_config"]
    write_json(f"{folder}/config.json", new)
    write_json(f"{folder}/generation_config.json",
               {"bos_token_id": 1, "eos_token_id": 2})
    write_json(f"{folder}/tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>",
        "eos_token": "</s>", "tokenizer_class": "LlamaTokenizer"})
    with open(f"{folder}/tokenizer.model", "wb") as f:
        f.write(base64.b64decode(text_fixture("sentencepiece")["model"]))


RULE = ("A chat between a curious user and an artificial intelligence "
        "assistant. The assistant gives helpful, detailed, and polite answers "
        "to the user's questions.")


def converse(question):
    """LLaVA's conversation of its version 1."""
    return f"{RULE} USER: <image>\n{question} ASSISTANT:"


def check_pieces(text, ids, image_id):
    """LLaVA's own way: the texts around the picture, each on its own."""
    library = SentencePieceProcessor(
        model_proto=base64.b64decode(text_fixture("sentencepiece")["model"]))
    a, b = (library.encode(t) for t in text.split("<image>"))
    assert ids == [library.bos_id()] + a + [image_id] + b


def load_processor(folder, pillow):
    backend = {"backend": "pil"} if pillow else {}
    return AutoProcessor.from_pretrained(folder, **backend)


def drawn(seed, i):
    return draw(random.Random(seed * 100003 + i))
