# quiz.py - held-out scenes as a quiz for hiredvlm-quiz
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python quiz.py FOLDER [--count 60] [--seed 0] [--colours 64]
# Pictures and quiz.json (its form: quiz.h). Scenes come from seeds, picture
# sizes and words that training never used. --colours makes small files.
import argparse
import json
import os

import numpy as np

import language
import scenes

HELD_OUT = 10 ** 9
KINDS = ["objects", "places", "counts", "words", "unseen-words", "yes-no"]


def described(things):
    shapes = [t for t in things if t["kind"] != "text"]
    return [{"kind": "objects", "expect": [f"{t['colour']} {t['kind']}" for t in shapes], "of": scenes.KINDS},
            {"kind": "places", "expect": [f"{language.place(t)} {language.name(t)}" for t in shapes]}]


def read(things):
    texts = [t["text"] for t in things if t["kind"] == "text"]
    unseen = [t for t in texts if t in scenes.UNSEEN_WORDS]
    known = [t for t in texts if t not in scenes.UNSEEN_WORDS]
    return [{"kind": kind, "expect": [f'"{t}"' for t in some]}
            for kind, some in (("words", known), ("unseen-words", unseen)) if some]


def questions(rng, things):
    out = [{"prompt": language.DESCRIBE[0], "checks": described(things)}]
    if read(things):
        out.append({"prompt": language.READ[0], "checks": read(things)})
    for sort, kind in (("where", "places"), ("count", "counts"), ("whether", "yes-no")):
        asked = language.ask(rng, things, sort)
        if asked:
            end = asked[1]
            if sort == "count":
                end = asked[1].split(":")[-1].strip()
            elif sort == "whether":
                end = asked[1][:2]
            out.append({"prompt": asked[0], "checks": [{"kind": kind, "expect": [end]}]})
    return out


def write(folder, count, seed, colours=None, sizes=scenes.UNSEEN):
    """Scene i of a seed is the same whatever the count."""
    os.makedirs(folder, exist_ok=True)
    pictures = []
    for i in range(count):
        rng = np.random.default_rng([HELD_OUT, seed, i])
        w, h, things = scenes.held_out(rng, sizes)
        picture, _, _ = scenes.draw(rng, w, h, things)
        if colours:
            picture = picture.quantize(colours, dither=0)
        picture.save(os.path.join(folder, f"{i}.png"), optimize=bool(colours))
        pictures.append({"file": f"{i}.png", "questions": questions(rng, things)})
    path = os.path.join(folder, "quiz.json")
    with open(path, "w") as f:
        f.write('{"pictures": [\n' + ",\n".join(json.dumps(p) for p in pictures) + "\n]}\n")
    return path


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("--count", type=int, default=60)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--colours", type=int)
    a = ap.parse_args()
    print(write(a.folder, a.count, a.seed, a.colours))


if __name__ == "__main__":
    main()
