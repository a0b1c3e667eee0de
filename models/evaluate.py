# evaluate.py - asks a folder about held-out scenes, through transformers
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python evaluate.py FOLDER [--scenes 60] [--policy all|hired|base] [--budget 0.2] [--show 5]
# Scenes come from seeds that training never used. An object counts when the
# description names its shape, colour and place together; a word when it is
# spelled right with its place.
import argparse
import re

import numpy as np
import torch
from transformers import AutoProcessor, LlavaNextForConditionalGeneration

import language
import scenes
import selection

HELD_OUT = 10 ** 9


class Model:
    def __init__(self, folder):
        self.model = LlavaNextForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def prompt(self, question):
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True)

    def decode(self, ids):
        return self.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()

    @torch.no_grad()
    def look(self, picture):
        """Everything about a picture that questions share."""
        tower = self.model.model.vision_tower
        grid = scenes.choose_grid(*picture.size)
        n = 1 + grid[0] * grid[1]
        pixels = self.processor.image_processor(picture, return_tensors="pt")["pixel_values"][0][:n]
        out = tower(pixels, output_hidden_states=True, output_attentions=True)
        features = self.model.model.multi_modal_projector(out.hidden_states[-2][:, 1:])
        last = len(out.attentions) - 2
        return {"size": picture.size, "grid": grid, "features": features.flatten(0, 1),
                "first": out.attentions[0][0, :, 0, 1:].sum(0).numpy(),
                "last": out.attentions[last][:, :, 0, 1:].sum(1).numpy()}

    @torch.no_grad()
    def answer(self, seen, question, policy, budget, longest=90):
        (w, h), (rows, cols) = seen["size"], seen["grid"]
        if policy == "all":
            order = selection.stock(w, h, rows, cols)
        elif policy == "base":
            order = np.arange(selection.N)
        else:
            order = selection.hired(w, h, rows, cols, seen["first"], seen["last"], budget)
        core = self.model.model
        ids = self.processor.tokenizer(self.prompt(question))["input_ids"]
        at = ids.index(self.model.config.image_token_id)
        visual = torch.where(torch.from_numpy(order == selection.NEWLINE)[:, None], core.image_newline,
                             seen["features"][torch.from_numpy(np.maximum(order, 0))])
        embed = core.language_model.get_input_embeddings()
        x = torch.cat([embed(torch.tensor(ids[:at])), visual, embed(torch.tensor(ids[at + 1:]))])[None]
        out, cache = [], None
        while len(out) < longest:
            r = core.language_model(inputs_embeds=x, past_key_values=cache, use_cache=True)
            cache = r.past_key_values
            token = int(self.model.lm_head(r.last_hidden_state[0, -1]).argmax())
            if token == 2:
                break
            out.append(token)
            x = embed(torch.tensor([[token]]))
        return self.decode(out)


def parse(caption):
    """{place: phrase} of a description."""
    found = {}
    for part in caption.rstrip(".").split(", "):
        part = part.lower() if '"' not in part else part[0].lower() + part[1:]
        for cell, name in sorted(enumerate(scenes.PLACES), key=lambda p: -len(p[1])):
            phrase = language.PHRASE[name] + " "
            if part.startswith(phrase):
                found[cell] = part[len(phrase):]
                break
    return found


def score(caption, things):
    """Counts for one description: right and all objects and words, and how
    many phrases there were."""
    said = parse(caption)
    n = {"objects": 0, "objects right": 0, "words": 0, "words right": 0, "phrases": len(said)}
    for t in things:
        sort = "words" if t["kind"] == "text" else "objects"
        n[sort] += 1
        n[sort + " right"] += said.get(t["cell"]) == language.name(t)
    return n


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("--scenes", type=int, default=60)
    ap.add_argument("--policy", default="all")
    ap.add_argument("--budget", type=float, default=0.2)
    ap.add_argument("--show", type=int, default=5)
    ap.add_argument("--threads", type=int, default=1)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    model = Model(a.folder)
    totals, asked = {}, {}
    for i in range(a.scenes):
        rng = np.random.default_rng(HELD_OUT + i)
        w, h, things = scenes.sparse(rng)
        picture, _, _ = scenes.draw(rng, w, h, things)
        seen = model.look(picture)
        caption = model.answer(seen, language.DESCRIBE[0], a.policy, a.budget)
        for k, v in score(caption, things).items():
            totals[k] = totals.get(k, 0) + v
        if i < a.show:
            print(f"{w}x{h} drawn: {language.describe(things)}\n        said: {caption}")
        for _ in range(2):
            question, answer = language.ask(rng, things)
            got = model.answer(seen, question, a.policy, a.budget, 30)
            sort = re.match(r"What is (written|\w+ the|on|in|at)|Where|What colour|How many", question).group(0)
            sort = "What is (place)" if sort.startswith("What is ") and "written" not in sort else sort
            right, n = asked.get(sort, (0, 0))
            asked[sort] = (right + (got == answer), n + 1)
    print(f"policy {a.policy} budget {a.budget}: objects {totals['objects right'] / totals['objects']:.2f} of "
          f"{totals['objects']}, words {totals['words right'] / max(1, totals['words']):.2f} of {totals['words']}, "
          f"phrases {totals['phrases']} for {totals['objects'] + totals['words']} things")
    print(", ".join(f"{k}: {r / n:.2f} of {n}" for k, (r, n) in sorted(asked.items())))


if __name__ == "__main__":
    main()
