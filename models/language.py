# language.py - what is asked and answered about a scene, and the tokenizer
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The tokenizer is a byte-pair one in SentencePiece style. Every word of the
# answers is one piece, grown letter by letter from its front ("▁", "▁r", "▁re",
# "▁red"), so merges of different words never compete. Inside quotes letters
# stand alone: words that were never seen can be spelled.
import numpy as np

import scenes

DESCRIBE = ["Describe the picture.", "Describe the image.", "What is in the picture?",
            "What is shown in this image?", "What do you see?"]
READ = ["What does the text say?", "What is written in the picture?"]
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"]
PHRASE = {"top left": "at the top left", "top": "at the top", "top right": "at the top right",
          "left": "on the left", "centre": "in the centre", "right": "on the right",
          "bottom left": "at the bottom left", "bottom": "at the bottom",
          "bottom right": "at the bottom right"}


def name(thing, article="a"):
    if thing["kind"] == "text":
        sort = "number" if thing["text"].isdigit() else "word"
        return f'the {sort} "{thing["text"]}"'
    if article == "a":
        article = "an" if thing["colour"] == "orange" else "a"
    return f'{article} {thing["colour"]} {thing["kind"]}'


def place(thing):
    return PHRASE[scenes.PLACES[thing["cell"]]]


def big(text):
    return text[0].upper() + text[1:]


def describe(things):
    """Things in reading order, each with its place first: the place then says
    which tokens to look at for the rest."""
    return big(", ".join(f"{place(t)} {name(t)}" for t in things) + ".")


def listed(things):
    return ", ".join(place(t) for t in things)


def ask_read(rng, things):
    texts = [f'"{t["text"]}"' for t in things if t["kind"] == "text"]
    answer = " and ".join(texts) + "." if texts else "Nothing."
    return READ[rng.integers(len(READ))], answer


def ask_where(rng, things):
    """Where a thing is that occurs once."""
    names = [name(t, "the") for t in things]
    once = [t for t, n in zip(things, names) if names.count(n) == 1]
    if once:
        thing = once[rng.integers(len(once))]
        return f"Where is {name(thing, 'the')}?", big(place(thing)) + "."


def ask_colour(rng, things):
    kinds = [t["kind"] for t in things]
    once = [t for t in things if t["kind"] != "text" and kinds.count(t["kind"]) == 1]
    if once:
        thing = once[rng.integers(len(once))]
        return f"What colour is the {thing['kind']}?", big(thing["colour"]) + "."


def ask_count(rng, things):
    shapes = [t for t in things if t["kind"] != "text"]
    if rng.random() >= 0.6:
        return count(things, None)
    return count(things, shapes[rng.integers(len(shapes))]["kind"] if shapes and rng.random() < 0.6
                 else scenes.KINDS[rng.integers(5)])


def count(things, kind):
    """Question and answer for shapes of a kind (None: of all). The places come
    first: counting is then reading back."""
    found = [t for t in things if t["kind"] == kind or kind is None and t["kind"] != "text"]
    what = "shapes" if kind is None else kind + ("es" if kind == "cross" else "s")
    answer = f"{big(listed(found))}: {NUMBERS[len(found)]}." if found else "None."
    return f"How many {what} are there?", answer


def ask_at(rng, things):
    cell = (things[rng.integers(len(things))]["cell"] if rng.random() < 0.7 else int(rng.integers(9)))
    found = [t for t in things if t["cell"] == cell]
    answer = big(name(found[0])) + "." if found else "Nothing."
    return f"What is {PHRASE[scenes.PLACES[cell]]}?", answer


def ask_whether(rng, things):
    """Yes in half of the cases; a no is most often a thing that shares its
    colour or its kind with one that is there."""
    shapes = [t for t in things if t["kind"] != "text"]
    there = {(t["colour"], t["kind"]) for t in shapes}
    if shapes and rng.random() < 0.5:
        thing = shapes[rng.integers(len(shapes))]
        pair = thing["colour"], thing["kind"]
    else:
        pair = next(iter(there), None)
        while pair is None or pair in there:
            pair = (scenes.COLOUR_NAMES[rng.integers(8)], scenes.KINDS[rng.integers(5)])
            if shapes and rng.random() < 0.7:
                thing = shapes[rng.integers(len(shapes))]
                pair = (thing["colour"], pair[1]) if rng.random() < 0.5 else (pair[0], thing["kind"])
    asked = name({"colour": pair[0], "kind": pair[1]})
    found = [t for t in shapes if (t["colour"], t["kind"]) == pair]
    return f"Is there {asked}?", f"Yes, {listed(found)}." if found else "No."


ASK = {"read": ask_read, "where": ask_where, "colour": ask_colour, "count": ask_count,
       "at": ask_at, "whether": ask_whether}


def ask(rng, things, kind=None):
    """A question about a scene: (question, answer); None if the scene has
    nothing to ask about in that kind."""
    return ASK[kind or list(ASK)[rng.integers(len(ASK))]](rng, things)


def words():
    """All words of questions and answers, with and without a space before."""
    text = DESCRIBE + READ
    for p in PHRASE.values():
        text += [f"{big(p)} x", f"x {p}", f"What is {p}?"]
    for c in scenes.COLOUR_NAMES:
        text += [f"a {c}", f"{big(c)}.", f"A {c}", f"An {c}"]
    for k in scenes.KINDS:
        text += [f"a {k}", f"many {k}{'es' if k == 'cross' else 's'}"]
    text += [f"is {n}" for n in NUMBERS] + ["None.", "Yes, x", "No.", "Is there a x?", "Is there an x?",
             "Where is the x?", "Nothing.", "What colour is the x?", "How many shapes are there?", "x and x",
             "an x", "The word x", "the word x", "The number x", "the number x", "USER: x", "x ASSISTANT:"]
    spaced, bare = [], []
    for t in text:
        question = t.endswith("?") or t in DESCRIBE
        for i, w in enumerate(t.split(" ")):
            w = w.strip('".,?')
            if w and w != "x":
                (bare if question and i == 0 else spaced).append(w)
    return sorted(set(spaced)), sorted(set(bare))


PAIRS = [("▁at", "▁the"), ("▁in", "▁the"), ("▁on", "▁the"), ("▁At", "▁the"), ("▁In", "▁the"),
         ("▁On", "▁the"), ("▁top", "▁left"), ("▁top", "▁right"), ("▁bottom", "▁left"),
         ("▁bottom", "▁right")]


def pieces():
    """(vocabulary in order of id, merges in order of rank)."""
    spaced, bare = words()
    chains = [["▁"] + list(w) for w in spaced + ['"']] + [list(w) for w in bare]
    merges = {}
    for n in range(1, max(len(c) for c in chains)):
        for c in chains:
            if n < len(c):
                merges.setdefault(("".join(c[:n]), c[n]), None)
    merges = list(merges) + PAIRS
    # Question words come after a line feed, where no space stands before them.
    letters = [chr(i) for i in range(33, 127)]
    vocab = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + ["▁"] + letters
    seen = set(vocab)
    for a, b in merges:
        if a + b not in seen:
            vocab.append(a + b)
            seen.add(a + b)
    return vocab, merges


def tokenizer_json():
    vocab, merges = pieces()
    n = len(vocab)

    def added(i, content):
        return {"id": i, "content": content, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>"),
                         added(n, "<image>"), added(n + 1, "<pad>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {p: i for i, p in enumerate(vocab)}, "merges": [list(m) for m in merges]},
    }


def vocab_size():
    """Embedding rows: tokenizer, <image>, <pad>, up to a multiple of 64."""
    return (len(pieces()[0]) + 2 + 63) // 64 * 64


def load_tokenizer():
    import json

    import tokenizers
    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json()))


TEMPLATE = "USER: <image>\n{} ASSISTANT:"


class Coder:
    """Ids of the fixed head, of a question and of an answer, remembered."""

    def __init__(self):
        self.tok = load_tokenizer()
        self.image = self.tok.token_to_id("<image>")
        self.memo = {}
        ids = self.tok.encode(TEMPLATE.format("x")).ids
        self.head = ids[:ids.index(self.image)]

    def segment(self, question, answer):
        """(ids after the image, how many of them are the question)."""
        key = question
        if key not in self.memo:
            ids = self.tok.encode(TEMPLATE.format(question)).ids
            self.memo[key] = ids[ids.index(self.image) + 1:]
        q = self.memo[key]
        # The answer goes on in the same section: its words begin with "▁".
        a = self.tok.encode(answer, add_special_tokens=False).ids
        return q + a + [2], len(q)


if __name__ == "__main__":
    c = Coder()
    rng = np.random.default_rng(0)
    print(len(pieces()[0]), vocab_size(), c.head)
    for _ in range(4):
        w, h, things = scenes.sparse(rng)
        for q, a in filter(None, [(DESCRIBE[0], describe(things))] + [ask(rng, things, k) for k in ASK]):
            ids, n = c.segment(q, a)
            print(q, "|", a, "|", [c.tok.id_to_token(i) for i in ids])
            whole = c.tok.encode(TEMPLATE.format(q) + " " + a).ids
            assert whole[whole.index(c.image) + 1:] + [2] == ids, (whole, ids)
