# train-text.py - stage 2: the text model learns to say what the encoder saw
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python train-text.py --encoder DIR/encoder.pt --out DIR --minutes M [--dropped SHARE]
# python train-text.py --start FOLDER --out DIR --minutes M [--dropped SHARE]
# The encoder is frozen. A sequence holds one scene and some questions that do
# not see one another (each goes on from the image as if it stood alone). The
# squeezed picture alone comes first, as LLaVA's first stage has it, then all
# tokens; with --dropped in a share of batches those that HiRED chooses at some
# budget, or a random part, closed up or in their places. A linear head on an
# early layer tells each visual token's place in the picture, which the features
# of a tile cannot know; it is dropped afterwards. --start takes both networks
# from a folder that export.py wrote. Goes on from DIR/text.pt if that is there;
# the learning rate and the mixture follow the clock.
import multiprocessing as mp
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import language
import load
import muon
import nets
import scenes
import selection
import session

N_SCENES = 6000  # encoded scenes kept for drawing batches from
IN_PLACE = 0.5  # of batches with dropped tokens: of what is left, where it was


def draw_scene(rng):
    """(tiles, width, height, grid, things) of a new one."""
    w, h, things = scenes.sparse(rng)
    picture, _, _ = scenes.draw(rng, w, h, things)
    pixels, grid, _ = scenes.tiles(picture)
    return pixels, w, h, grid, things


def produce(queue, seed, draw):
    os.nice(3)
    rng = np.random.default_rng(seed)
    while True:
        out = []
        for _ in range(8):
            *scene, things = draw(rng)
            out.append((*scene, [{k: t[k] for k in t if k in ("kind", "colour", "text", "cell")}
                                 for t in things]))
        queue.put(out)


class Pool:
    """The newest encoded scenes; each is used some times, with new questions
    and other tokens dropped."""

    draw = staticmethod(draw_scene)

    def __init__(self, vision, seed):
        self.vision, self.scenes, self.at = vision, [], 0
        self.queue = mp.Queue(6)
        mp.Process(target=produce, args=(self.queue, seed, self.draw), daemon=True).start()
        self.rng = np.random.default_rng(seed)

    def encoded(self, chunk):
        """What batches are made of, of some scenes."""
        x, (first, last) = self.vision(torch.from_numpy(np.concatenate([c[0] for c in chunk])), taps=True)
        at = 0
        for tiles, w, h, grid, things in chunk:
            n = len(tiles)
            yield {"w": w, "h": h, "grid": grid, "things": things,
                   "x": x[at:at + n, 1:].reshape(-1, x.shape[-1]).half(),
                   "places": selection.places(w, h, *grid),
                   "first": first[at].numpy(), "last": last[at:at + n].numpy()}
            at += n

    @torch.no_grad()
    def add(self):
        for item in self.encoded(self.queue.get()):
            if len(self.scenes) < N_SCENES:
                self.scenes.append(item)
            else:
                self.scenes[self.at] = item
                self.at = (self.at + 1) % N_SCENES

    def batch(self, size):
        while len(self.scenes) < 160:
            self.add()
        if not self.queue.empty():
            self.add()
        return [self.scenes[i] for i in self.rng.integers(0, len(self.scenes), size)]


def choose_mode(rng, ripe, dropped):
    """How a batch sees its pictures, the kind of selection and its budget:
    the squeezed picture alone until it is `ripe`, a share with tokens dropped."""
    if rng.random() >= ripe:
        return "base", 1
    if rng.random() >= dropped:
        return "all", 1
    return ("hired", rng.uniform(0.08, 0.45)) if rng.random() < 0.8 else ("random", rng.uniform(0.2, 0.9))


def chosen(rng, item, mode, share):
    """Ids of the visual tokens that are left, in order."""
    w, h, (rows, cols) = item["w"], item["h"], item["grid"]
    if mode == "base":
        return np.arange(selection.N)
    if mode == "hired":
        # Not only the paper's half for the squeezed picture: no policy's habit is learned.
        alpha = 0.5 if rng.random() < 0.5 else rng.uniform(0.2, 0.6)
        return selection.hired(w, h, rows, cols, item["first"], item["last"], share, alpha)
    whole = selection.stock(w, h, rows, cols)
    return whole if mode == "all" else selection.thinned(rng, whole, share)


def visual_order(rng, item, mode, share):
    """What is left and where: closed up, or in its places, or there with
    newlines too."""
    order = chosen(rng, item, mode, share)
    if mode in ("base", "all") or rng.random() >= IN_PLACE:
        return selection.closed_up(order)
    return selection.in_place(order, selection.stock(item["w"], item["h"], *item["grid"]), rng.random() < 0.5)


class Batcher:
    questions = 4  # besides the description and the text

    def __init__(self, coder, rng):
        self.coder, self.rng = coder, rng
        tok = coder.tok
        self.open, self.close = tok.token_to_id('▁"'), tok.token_to_id('"')

    def counts(self, things):
        """Counts of two kinds, of those there more than once if any is: chance
        asks for them too rarely to be learned."""
        there = [t["kind"] for t in things if t["kind"] != "text"]
        often = [k for k in scenes.KINDS if there.count(k) > 1]
        kinds = list(self.rng.permutation(often)) + list(self.rng.permutation(scenes.KINDS))
        return [language.count(things, k) for k in dict.fromkeys(kinds)][:2]

    def segments(self, item, mode):
        """The description, what is written, and some more questions."""
        rng, things = self.rng, item["things"]
        pick = 0 if rng.random() < 0.6 else int(rng.integers(1, len(language.DESCRIBE)))
        qa = [(language.DESCRIBE[pick], language.describe(things))]
        kinds = list(rng.permutation(["where", "colour", "count", "at", "whether"])[:self.questions])
        if mode != "base" or not any(t["kind"] == "text" for t in things):
            kinds.append("read")
        qa += filter(None, (language.ask(rng, things, k) for k in kinds))
        qa += self.counts(things)
        return [self.coder.segment(q, a) for q, a in qa]

    def __call__(self, items, mode, share):
        return self.pack(self.rows(items, mode, lambda item: visual_order(self.rng, item, mode, share)))

    def rows(self, items, mode, order_of):
        head, rows = self.coder.head, []
        for item in items:
            order, at, places = order_of(item)
            prefix = len(head) + places
            ids, seg, pos, label = [], [], [], []
            for s, (tokens, n_question) in enumerate(self.segments(item, mode), 1):
                ids += tokens
                seg += [s] * len(tokens)
                pos += range(prefix, prefix + len(tokens))
                target = [-100] * (n_question - 1) + tokens[n_question:] + [-100]
                if mode == "base":
                    self.hide(tokens, target)
                label += target
            rows.append((item, order, at, ids, seg, pos, label))
        return rows

    def hide(self, tokens, target):
        inside = False
        for i, t in enumerate(tokens):
            if t == self.close:
                inside = False
            if inside and i > 0:
                target[i - 1] = -100
            if t == self.open:
                inside = True

    def pack(self, rows):
        head = self.coder.head
        h, b = len(head), len(rows)
        length = max(h + len(r[1]) + len(r[3]) for r in rows)
        ids = torch.zeros(b, length, dtype=torch.long)
        seg = torch.full((b, length), -1)
        pos = torch.zeros(b, length, dtype=torch.long)
        label = torch.full((b, length), -100)
        spots, features, newline, where = [], [], [], []
        for i, (item, order, at, tokens, s, p, y) in enumerate(rows):
            v = len(order)
            n = h + v + len(tokens)
            ids[i, :h] = torch.tensor(head)
            ids[i, h + v:n] = torch.tensor(tokens)
            seg[i, :h + v] = 0
            seg[i, h + v:n] = torch.tensor(s)
            pos[i, :h] = torch.arange(h)
            pos[i, h:h + v] = h + torch.from_numpy(at)
            pos[i, h + v:n] = torch.tensor(p)
            label[i, h + v:n] = torch.tensor(y)
            spots.append(i * length + h + torch.arange(v))
            newline.append(torch.from_numpy(order == selection.NEWLINE))
            features.append(item["x"][torch.from_numpy(np.maximum(order, 0))])
            place = item["places"][np.maximum(order, 0)]
            where.append(torch.from_numpy(np.where(order[:, None] == selection.NEWLINE, -1, place)))
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        mask = causal & ((seg[:, None, :] == 0) | (seg[:, None, :] == seg[:, :, None]))
        mask |= torch.eye(length, dtype=torch.bool)
        return (ids, pos, label, mask[:, None], torch.cat(spots),
                torch.cat(features).float(), torch.cat(newline), torch.cat(where))


def forward(text, where_head, batch):
    """(logits, labels) at the places that have a label, and the loss of the
    places of visual tokens."""
    ids, pos, label, mask, spots, features, newline, where = batch
    x = text.embed(ids)
    visual = torch.where(newline[:, None], text.newline, text.project(features))
    x = x.flatten(0, 1).index_copy(0, spots, visual).view_as(x)
    states, early = text(x, pos, mask)
    wanted = label.flatten() != -100
    guess = where_head(F.layer_norm(early.flatten(0, 1)[spots], (early.shape[-1],))).view(-1, 2, 3)
    lost = F.cross_entropy(guess.flatten(0, 1), where.flatten(), ignore_index=-1)
    return text.head(states.flatten(0, 1)[wanted]), label.flatten()[wanted], lost


def main():
    ap = session.arguments(minutes=155, batch=24, rate=2e-3, seed=2)
    begin = ap.add_mutually_exclusive_group(required=True)
    begin.add_argument("--encoder", help="checkpoint of train-encoder.py; the text model begins anew")
    begin.add_argument("--start", help="folder (or checkpoint) of a model to train on")
    ap.add_argument("--dropped", type=float, default=0, help="share of batches with tokens dropped")
    a = ap.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    start = load.checkpoint(a.start or a.encoder)
    vision = load.encoder(start)
    text = nets.Text(language.vocab_size(), nets.VISION["width"])
    if a.start:
        text.load_state_dict(start["model"])
    where_head = nn.Linear(nets.TEXT["width"], 6)
    both = nn.ModuleDict({"text": text, "where": where_head})
    opt = muon.Both(both, text.layers, nets.text_parts, a.rate)
    run = session.Session(a, "text.pt", {"model": text, "where": where_head, "opt": opt}, "scenes",
                          {"encoder": vision.state_dict()})
    seed = a.seed + 1000 * (run.step + 1)
    pool = Pool(vision, seed)
    rng = np.random.default_rng(seed + 1)
    batcher = Batcher(language.Coder(), rng)
    while run.progress() <= 1:
        lr = run.rate(warm=150, floor=0.02)
        ripe = 1 if a.start else 4 * run.progress()
        mode, share = choose_mode(rng, ripe, a.dropped)
        size = a.batch if mode in ("base", "hired") else a.batch // 2
        logits, label, where = forward(text, where_head, batcher(pool.batch(size), mode, share))
        loss = F.cross_entropy(logits, label)
        opt.descend(loss + 0.3 * where, lr)
        right = (logits.argmax(-1) == label).float().mean().item()
        run.stepped(lr, size, {"loss": loss.item(), "where": where.item(), mode: right}, keep=0.97)
    run.finish()


if __name__ == "__main__":
    main()
