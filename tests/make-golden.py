#!/usr/bin/env python3
# make-golden.py - what transformers computes from tiny random folders
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   tests/make-golden.py                      rewrites tests/golden/
#   tests/make-golden.py --seed 7 DIR [NAME...]   other weights, into DIR
#   tests/make-golden.py --draw 20 --seed 7 DIR   20 folders of anything that a
#                                                 checkpoint may say, into DIR
#
# `test-golden DIR` compares the folders of DIR. Each is a checkpoint folder as
# golden_folders.py makes it, and in it
#
#   golden.json         {"resampling": of the main run, "cases": [...],
#                        "pictures": [...]}
#   golden.safetensors  arrays of case i, named "i.NAME"
#
# A picture, of odd sizes and shapes:
#   width, height, seed  see picture() below
#   crc                  by resampling, torchvision and pillow: CRC-32 of the
#                        normalised tiles, f32 [P,3,T,T]
#   image_tokens         rows of "packed"
# A case is a picture and a question:
#   question, rendered   before and after the chat template
#   prompt_ids           with the picture once, as the placeholder
#   ids, margin          greedy continuation, eos included, and the least
#                        difference of the two largest logits on the way
#   kept                 for each of KEPT: policy, budget, params, order,
#                        per_tile, cut_margin (see golden_hired.py), ids, margin,
#                        and in_place if RoPE counts what was dropped
# and its arrays:
#   features [P*N,C*layers]  (one row more, the first, with strategy "full")
#   cls_first [N], cls_last [P,N]  class attention summed over heads
#   packed [image_tokens,D], logits [steps,V]
#
# All is computed in f32 on the CPU from the folder as saved; versions are
# pinned in tests/requirements.txt.
import argparse
import json
import os
import shutil
import tempfile
import zlib

import numpy as np
import torch
from safetensors.numpy import save_file

import golden_folders
import golden_hired

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 8
SIZES = [(192, 144), (50, 50), (60, 200), (300, 100), (256, 144), (97, 61)]
ODD_SIZES = [(1, 1), (1, 50), (333, 2), (37, 29), (7, 200), (701, 31),
             (85, 84), (83, 169), (640, 480), (120, 400), (342, 608)]
QUESTIONS = ["What is shown in this image?", "Read the sign: 12345!",
             "Où est le café?"]
KEPT = [(policy, budget, {}) for policy in ("hired", "hired-reference")
        for budget in (0.1, 0.2, 0.4)] + [
    ("hired", 0.2, {"alpha": 0.25}), ("hired", 0.3, {"alpha": 1.0}),
    ("hired-reference", 0.2, {"alpha": 0.75}),
    ("hired-reference", 0.2, {"init-topk": 10})]
IN_PLACE = [("hired", 0.1, {}), ("hired", 0.4, {}),
            ("hired-reference", 0.2, {})]
RESAMPLINGS = ("torchvision", "pillow")


def picture(w, h, seed):
    """8-bit RGB; the same formula as in tests/golden-load.c."""
    y, x = np.mgrid[:h, :w].astype(np.int64)
    rgb = np.stack([7 * x + 13 * y + ((x * y) >> 3) + 31 * seed,
                    x * x // 7 + 3 * y, x ^ (5 * y + seed)], -1)
    return (rgb & 255).astype(np.uint8)


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


def generate_in_place(model, ids, image_id, rows, places, whole):
    """The same with the rows at these places of a picture of `whole` rows; the
    text behind it begins where it would. What the text looks at is all there is,
    as far as a window reaches."""
    at = ids.index(image_id)
    table = model.get_input_embeddings()
    text = table(torch.tensor(ids[:at] + ids[at + 1:], dtype=torch.long))
    x = torch.cat([text[:at], rows, text[at:]])[None]
    pos = [*range(at), *(at + p for p in places),
           *range(at + whole, whole + len(ids) - 1)]
    stop = model.generation_config.eos_token_id
    stop = stop if isinstance(stop, list) else [stop]
    cache, out, margin = None, [], float("inf")
    while len(out) < STEPS and not (out and out[-1] in stop):
        n = x.shape[1] + (cache.get_seq_length() if cache else 0)
        step = model.model.language_model(
            inputs_embeds=x, position_ids=torch.tensor([pos]), use_cache=True,
            attention_mask=torch.ones(1, n).long(), past_key_values=cache)
        cache = step.past_key_values
        logits = model.lm_head(step.last_hidden_state[0, -1])
        a, b = logits.topk(2).values
        out.append(logits.argmax().item())
        margin = min(margin, float(a - b))
        x, pos = table(torch.tensor([[out[-1]]])), [pos[-1] + 1]
    return out, margin


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
    n = config.vision_config.num_hidden_layers + 1
    last = max(max(i % n for i in layers) - 1, 0)
    return (x.reshape(-1, x.shape[-1]),
            out.attentions[0][0, :, 0, 1:].sum(0).numpy(),
            out.attentions[last][:, :, 0, 1:].sum(1).numpy())


def keep(model, p, ids, features, a0, last):
    full = model.config.vision_feature_select_strategy == "full"
    image_id = model.config.image_token_index
    asked = [(*k, False) for k in KEPT] + [(*k, True) for k in IN_PLACE]
    for policy, budget, params, in_place in asked:
        choose = getattr(golden_hired,
                         "paper" if policy == "hired" else "reference")
        choice = choose(p, a0, last, budget,
                        **{k.replace("-", "_"): v for k, v in params.items()})
        if choice is None:
            continue
        order, per_tile, cut = choice
        rows = [0] + [1 + i for i in order] if full else order
        rows = model.model.multi_modal_projector(features[rows])
        if in_place:
            out, margin = generate_in_place(model, ids, image_id, rows,
                                            *p.places(order, full))
        else:
            out, _, margin = generate(model, ids, image_id, rows)
        yield {"policy": policy, "budget": budget, "params": params,
               **({"in_place": True} if in_place else {}),
               "order": order, "per_tile": per_tile,
               "cut_margin": min(cut, 1e9), "margin": margin, "ids": out}


class Folder:
    """A folder loaded again: the model, and a processor per resampling."""

    def __init__(self, model, path, original=False):
        self.model = model
        self.original = original
        self.processor = {r: golden_folders.load_processor(path, r == "pillow")
                          for r in RESAMPLINGS}
        vision = model.config.vision_config
        self.tile = vision.image_size
        self.side = self.tile // vision.patch_size

    def render(self, question):
        if self.original:
            return golden_folders.converse(question)
        chat = [{"role": "user", "content": [
            {"type": "image"}, {"type": "text", "text": question}]}]
        processor = self.processor["torchvision"]
        if processor.chat_template is None:
            return processor.tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, tokenize=False)
        return processor.apply_chat_template(chat, add_generation_prompt=True)

    def encode(self, text, w, h, seed, resampling):
        image = torch.from_numpy(picture(w, h, seed)).permute(2, 0, 1)
        bos = self.processor[resampling].tokenizer.bos_token
        more = {"add_special_tokens": False} \
            if bos is not None and text.startswith(bos) else {}
        return self.processor[resampling](text=[text], images=[image],
                                          return_tensors="pt", **more)

    def grid(self, w, h):
        if not hasattr(self.model.config, "image_grid_pinpoints"):
            return 0, 0
        from transformers.image_processing_utils import select_best_resolution
        H, W = select_best_resolution(
            (h, w), self.model.config.image_grid_pinpoints)
        return H // self.tile, W // self.tile


def tiles(batch):
    pixels = batch["pixel_values"]
    return pixels[0] if "image_sizes" in batch else pixels


def look(folder, w, h, seed):
    """The picture's part of a case."""
    image_id = folder.model.config.image_token_index
    crc = {}
    for resampling in RESAMPLINGS:
        batch = folder.encode("<image>", w, h, seed, resampling)
        crc[resampling] = zlib.crc32(
            np.ascontiguousarray(tiles(batch)).tobytes())
    return {"width": w, "height": h, "seed": seed, "crc": crc,
            "image_tokens": batch["input_ids"][0].tolist().count(image_id)}


def make_case(folder, size, seed, question, resampling, arrays, prefix):
    w, h = size
    model, config = folder.model, folder.model.config
    rendered = folder.render(question)
    batch = folder.encode(rendered, w, h, seed, resampling)
    expanded = batch["input_ids"][0].tolist()
    image_id = config.image_token_index
    at, n_image = expanded.index(image_id), expanded.count(image_id)
    ids = expanded[:at + 1] + expanded[at + n_image:]
    if folder.original:
        golden_folders.check_pieces(rendered, ids, image_id)
    more = {} if "image_sizes" not in batch else {
        "image_sizes": batch["image_sizes"]}
    with torch.no_grad():
        packed = model.model.get_image_features(
            batch["pixel_values"], return_dict=True, **more).pooler_output
        packed = packed[0].reshape(-1, config.text_config.hidden_size)
        assert len(packed) == n_image
        features, a0, last = see(model, tiles(batch))
        out, logits, margin = generate(model, ids, image_id, packed)
        p = golden_hired.Picture(w, h, *folder.grid(w, h), folder.side,
                                 folder.tile)
        kept = list(keep(model, p, ids, features, a0, last))
    for name, value in (("features", features), ("cls_first", a0),
                        ("cls_last", last), ("packed", packed),
                        ("logits", logits)):
        arrays[prefix + name] = np.ascontiguousarray(value, np.float32)
    return {**look(folder, w, h, seed), "question": question,
            "rendered": rendered, "prompt_ids": ids, "ids": out,
            "margin": margin, "kept": kept}


def make(name, path, more, seed):
    seed = zlib.crc32(name.encode()) + seed
    original = more.get("original")
    source = tempfile.mkdtemp() if original else path
    folder = Folder(golden_folders.make_folder(source, more, seed), source,
                    original)
    if original:
        golden_folders.write_original(source, path, more)
        shutil.rmtree(source)
    resampling = RESAMPLINGS[bool(more.get("pillow"))]
    arrays, cases = {}, []
    for i, question in enumerate(QUESTIONS):
        size = SIZES[(seed + i * 2 + i // 2) % len(SIZES)]
        cases.append(make_case(folder, size, i, question, resampling, arrays,
                               f"{i}."))
        print(name, size, "margin %.4f" % cases[-1]["margin"],
              *("%.4f/%.4f" % (k["cut_margin"], k["margin"])
                for k in cases[-1]["kept"]), flush=True)
    pictures = [look(folder, w, h, i) for i, (w, h) in enumerate(ODD_SIZES)]
    save_file(arrays, f"{path}/golden.safetensors")
    with open(f"{path}/golden.json", "w") as f:
        json.dump({"resampling": resampling, "cases": cases,
                   "pictures": pictures}, f, ensure_ascii=False)
        f.write("\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("dir", nargs="?", default=f"{HERE}/golden")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.draw:
        folders = {f"drawn-{args.seed}-{i}": golden_folders.drawn(args.seed, i)
                   for i in range(args.draw)}
    else:
        folders = golden_folders.FOLDERS
    for name in args.names or folders:
        if args.draw:
            print(name, folders[name], flush=True)
        try:
            make(name, f"{args.dir}/{name}", folders[name], args.seed)
        except Exception as refusal:
            if not args.draw:
                raise
            print(name, "is refused:", refusal, flush=True)


if __name__ == "__main__":
    main()
