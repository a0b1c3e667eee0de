# agree.py - whether transformers says the same of held-out scenes
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python agree.py [--model FOLDER] [--count 2000] [--seed 0] [--questions]
# Descriptions (with --questions all answers) by the engine, f32, all tokens,
# and by transformers' LlavaNextForConditionalGeneration, greedy. Where the two
# differ, the margin is that of the two best tokens where they part; below
# 1e-3 rounding decides. Exits with 1 if any other text differs.
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
from PIL import Image
from transformers import AutoProcessor, LlavaNextForConditionalGeneration

import quiz

HERE = os.path.dirname(os.path.abspath(__file__))
MARGIN = 1e-3


def ours(a, path):
    run = subprocess.run([a.tool, "--model", a.model, "--device", "cpu", "--weights", "f32", "--policies", "all",
                          "--budgets", "1", "--answers", path], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)["answers"]


@torch.no_grad()
def theirs(model, processor, picture, prompt):
    """The text, its ids, and the margin at each."""
    text = processor.apply_chat_template([{"role": "user", "content": [
        {"type": "image"}, {"type": "text", "text": prompt}]}], add_generation_prompt=True)
    inputs = processor(images=picture, text=text, return_tensors="pt")
    out = model.generate(**inputs, max_new_tokens=128, do_sample=False, output_logits=True,
                         return_dict_in_generate=True)
    ids = out.sequences[0, inputs["input_ids"].shape[1]:]
    best = [step[0].topk(2).values for step in out.logits]
    return (processor.tokenizer.decode(ids, skip_special_tokens=True), ids.tolist(),
            [(b[0] - b[1]).item() for b in best])


def margin_where_parting(tokenizer, text, ids, margins):
    """Their margin at the first token after which the texts disagree."""
    for i in range(len(ids)):
        if not text.startswith(tokenizer.decode(ids[:i + 1], skip_special_tokens=True).strip()):
            return margins[i]
    return margins[-1]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", default=os.path.join(HERE, "tiny"))
    ap.add_argument("--count", type=int, default=2000)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--questions", action="store_true")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--tool", default=os.path.join(os.path.dirname(HERE), "build", "models", "hiredvlm-quiz"))
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    model = LlavaNextForConditionalGeneration.from_pretrained(a.model, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(a.model)
    same = close = different = 0
    with tempfile.TemporaryDirectory() as folder:
        path = quiz.write(folder, a.count, a.seed)
        with open(path) as f:
            pictures = json.load(f)["pictures"]
        if not a.questions:
            for p in pictures:
                p["questions"] = p["questions"][:1]
            with open(path, "w") as f:
                json.dump({"pictures": pictures}, f)
        answers = iter(ours(a, path))
        for number, p in enumerate(pictures):
            picture = Image.open(os.path.join(folder, p["file"])).convert("RGB")
            for q in p["questions"]:
                mine, (text, ids, margins) = next(answers), theirs(model, processor, picture, q["prompt"])
                if mine.strip() == text.strip():
                    same += 1
                    continue
                margin = margin_where_parting(processor.tokenizer, mine.strip(), ids, margins)
                close += margin <= MARGIN
                different += margin > MARGIN
                print(f"scene {number}, margin {margin:.5f}\n  ours   {mine}\n  theirs {text}", flush=True)
            if number % 100 == 99:
                print(f"{number + 1} scenes: {same} texts the same", file=sys.stderr, flush=True)
    print(f"{same} texts are the same, {close} differ below a margin of {MARGIN}, {different} above.")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
