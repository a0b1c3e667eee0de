# train-flex.py - a FlexAttention model, from the shipped one's text model
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python train-flex.py --start FOLDER --out DIR
# Both networks begin as those of FOLDER, the shipped model's (or a checkpoint of
# train-text.py); the encoder is frozen. Sequences hold the shrunk picture only;
# the tiles are reached by the hierarchical layers of flex.py, by the rows that
# predict an answer. As the release was trained, selections are by threshold and
# carry no gradient, and what the second look brings is blended in over the first
# tenth; unlike there, the projector learns from the fine tokens too. Goes on from
# DIR/flex.pt.
import importlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import flex
import language
import load
import muon
import nets
import scenes
import selection
import session

text_stage = importlib.import_module("train-text")
BLEND = 0.1  # of all progress


def draw_scene(rng):
    w, h, things = scenes.sparse(rng, flex.picture_size(rng))
    picture, _, _ = scenes.draw(rng, w, h, things)
    return flex.square(picture), w, h, things


class Pool(text_stage.Pool):
    draw = staticmethod(draw_scene)

    def encoded(self, chunk):
        tiles = flex.looks(torch.from_numpy(np.stack([c[0] for c in chunk])))
        x = self.vision(tiles.flatten(0, 1))[:, 1:].unflatten(0, tiles.shape[:2])
        for one, (_, w, h, things) in zip(x, chunk):
            yield {"w": w, "h": h, "things": things, "places": flex.places(w, h),
                   "x": torch.cat([one[0], flex.in_lines(one[1:])]).half()}


class Batcher(text_stage.Batcher):
    questions = 1

    def __call__(self, items):
        """pack's, and for the second look: fine features, rows that predict an
        answer, which of them count, and the frames."""
        packed = self.pack(self.rows(items, "all", lambda item: selection.closed_up(np.arange(flex.N))))
        answers = packed[2] != -100
        most = int(answers.sum(1).max())
        rows = answers.int().sort(dim=1, descending=True, stable=True).indices[:, :most]
        return (packed, torch.stack([i["x"][flex.N:] for i in items]).float(), rows, answers.gather(1, rows),
                flex.framed([(i["w"], i["h"]) for i in items]))


def forward(text, where_head, begin, batch, share):
    """(logits, labels) at the rows that predict an answer, the loss of the
    places of visual tokens, and how much each layer was shown."""
    (ids, pos, label, mask, spots, features, _, where), fine, rows, counts, frame = batch
    x = text.embed(ids)
    x = x.flatten(0, 1).index_copy(0, spots, text.project(features)).view_as(x)
    states, early, shown = text(x, pos, mask, text.project(fine), rows, counts, begin, frame, share)
    wanted = label.flatten() != -100
    guess = where_head(F.layer_norm(early.flatten(0, 1)[spots], (early.shape[-1],))).view(-1, 2, 3)
    lost = F.cross_entropy(guess.flatten(0, 1), where.flatten(), ignore_index=-1)
    return text.head(states.flatten(0, 1)[wanted]), label.flatten()[wanted], lost, shown


class Letters:
    """Which of the labels stand in quotes."""

    def __init__(self, tok):
        self.open, self.close = tok.token_to_id('▁"'), tok.token_to_id('"')

    def __call__(self, label):
        inside, out = False, []
        for t in label.tolist():
            inside = inside and t != self.close
            out.append(inside)
            inside = inside or t == self.open
        return torch.tensor(out)


def main():
    ap = session.arguments(minutes=90, batch=16, rate=1e-3, seed=3)
    ap.add_argument("--start", required=True)
    a = ap.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    start = load.checkpoint(a.start)
    vision = load.encoder(start)
    text = flex.Text(language.vocab_size(), nets.VISION["width"])
    where_head = nn.Linear(nets.TEXT["width"], 6)
    both = nn.ModuleDict({"text": text, "where": where_head})
    opt = muon.Both(both, text.layers, nets.text_parts, a.rate)
    run = session.Session(a, "flex.pt", {"model": text, "where": where_head, "opt": opt}, "scenes",
                          {"encoder": vision.state_dict()})
    seed = a.seed + 1000 * (run.step + 1)
    pool, rng, coder = Pool(vision, seed), np.random.default_rng(seed + 1), language.Coder()
    if run.step == 0:
        text.start_from(start["model"], torch.cat([i["x"] for i in pool.batch(16)]).float())
    batcher, letters = Batcher(coder, rng), Letters(coder.tok)
    while run.progress() <= 1:
        lr = run.rate(warm=100, floor=0.02)
        share = min(1.0, run.progress() / BLEND)
        logits, label, where, shown = forward(text, where_head, len(coder.head), batcher(pool.batch(a.batch)), share)
        loss = F.cross_entropy(logits, label)
        opt.descend(loss + 0.3 * where, lr)
        right, spelled = (logits.argmax(-1) == label).float(), letters(label)
        run.stepped(lr, a.batch, {"loss": loss.item(), "where": where.item(),
                                  "letters": right[spelled].mean().item(), "rest": right[~spelled].mean().item(),
                                  **{f"shown{flex.FIRST + i}": s.item() for i, s in enumerate(shown)}}, keep=0.97)
    run.finish()


if __name__ == "__main__":
    main()
