#!/usr/bin/env python3
# make-golden-text.py - what the tokenizers library makes of generated texts
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   tests/make-golden-text.py                     rewrites tests/golden-text/
#   tests/make-golden-text.py --cases 20000 DIR   many more cases, into DIR
#
# `test-tokenizer DIR` runs the cases of such a folder. One file per kind of
# tokenizer: {"tokenizer": tokenizer.json, "encode": [[text, ids], ...],
# "decode": [[ids, skip_special, text], ...]}. That of SentencePiece
# has its tokenizer.model too, in base64, and cases that mean the same to both.
import argparse
import base64
import io
import json
import os
import random
import sys

import sentencepiece as sentencepiece_library
import tokenizers
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
          r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEXT = """A chat between a curious human and an artificial intelligence
assistant. The assistant gives helpful, detailed, and polite answers to the
human's questions. USER: What is shown in this image? ASSISTANT: The image
shows 2 red squares, 1 blue circle and 37 green triangles; they're near the
top-left corner. I've seen it, you'll see it, we'd say. It isn't a cafe but a
café in Zürich, and the sign reads 12345 in the year 2026."""
MARK = "\u2581"


def train(alphabet, size):
    """Pieces and merges learned from TEXT; ids start at 0."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(), pre_tokenizers.WhitespaceSplit()])
    if alphabet == "bytes":
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=sorted(
            pre_tokenizers.ByteLevel.alphabet() if alphabet == "bytes"
            else list("abcxyzABC0123456789.,:;?!'\"<>/[]()é"))))
    model = json.loads(tok.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    return pieces, model["merges"]


def added(id, content, special=True, **flags):
    return {"id": id, "content": content, "single_word": False,
            "lstrip": False, "rstrip": False, "normalized": False,
            "special": special, **flags}


def file(model, tokens, **parts):
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": tokens,
            **{k: parts.get(k) for k in ("normalizer", "pre_tokenizer",
                                         "post_processor", "decoder")},
            "model": {"type": "BPE", "dropout": None, "unk_token": None,
                      "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False,
                      "byte_fallback": False, **model}}


def marks(token, id):
    one = {"SpecialToken": {"id": token, "type_id": 0}}
    a, b = ({"Sequence": {"id": s, "type_id": t}}
            for s, t in (("A", 0), ("B", 1)))
    return {"type": "TemplateProcessing", "single": [one, a],
            "pair": [one, a, one, b], "special_tokens": {
                token: {"id": token, "ids": [id], "tokens": [token]}}}


def sentencepiece(fallback=True, tokens=(), pieces=None, merges=None, **parts):
    head = ["<unk>", "<s>", "</s>"]
    images = ["<image>", "<pad>"] if not pieces else []
    if not pieces:
        pieces, merges = train("text", 260)
        if fallback:
            head += ["<0x%02X>" % i for i in range(256)]
        pieces = head + pieces
    vocab = {p: i for i, p in enumerate(pieces)}
    n = len(pieces)
    base = {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": MARK},
            {"type": "Replace", "pattern": {"String": " "},
             "content": MARK}]},
        "post_processor": marks("<s>", 1),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}
    base.update(parts)
    return file({"vocab": vocab, "byte_fallback": fallback, "fuse_unk": True,
                 "unk_token": "<unk>", "merges": [" ".join(m) for m in merges]},
                [added(i, p) for i, p in enumerate(head[:3])] +
                [added(n + i, p) for i, p in enumerate(images)] +
                [added(n + 2 + i, *t[:1], **t[1])
                 for i, t in enumerate(tokens)], **base)


def metaspace(scheme, split=False, **more):
    part = {"type": "Metaspace", "replacement": MARK,
            "prepend_scheme": scheme, "split": split, **more}
    return sentencepiece(normalizer=None, pre_tokenizer=part, decoder=part)


def byte_level(regex, normalizer, ignore, head, post=None, **level):
    pieces, merges = train("bytes", 330)
    n = len(pieces)
    tokens = [added(n + i, p) for i, p in enumerate(head)]
    plain = {"type": "ByteLevel", "add_prefix_space": False,
             "trim_offsets": True, "use_regex": False}
    words = {**plain, **level}
    if regex:
        words = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex},
             "behavior": "Isolated", "invert": False}, words]}
    model = {"vocab": {p: i for i, p in enumerate(pieces)}, "merges": merges}
    if ignore:
        model["ignore_merges"] = True
        model["vocab"]["\u0120zebra"] = model["vocab"].pop(pieces[-1])
        model["merges"] = [m for m in merges if "".join(m) != pieces[-1]]
    return file(model, tokens, normalizer=normalizer, pre_tokenizer=words,
                post_processor={"type": "Sequence", "processors": [
                    plain, marks(post, n)]} if post else plain,
                decoder={**plain, "add_prefix_space": True})


def learned():
    """A model of SentencePiece itself, learned from TEXT."""
    out = io.BytesIO()
    sentencepiece_library.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n")), model_writer=out,
        model_type="bpe", vocab_size=440, byte_fallback=True,
        character_coverage=1.0, normalization_rule_name="identity",
        remove_extra_whitespaces=False, minloglevel=2)
    return out.getvalue()


def converted(library):
    """The tokenizer.json that transformers' LlamaConverter makes of it: all
    ways to cut a piece in two, by score, then by the ids of the parts."""
    n = library.get_piece_size()
    pieces = [library.id_to_piece(i) for i in range(n)]
    vocab = {p: i for i, p in enumerate(pieces)}
    plain = {p for p, i in vocab.items() if not (
        library.is_control(i) or library.is_unknown(i) or library.is_byte(i))}
    merges = []
    for piece in sorted(plain, key=lambda p: -library.get_score(vocab[p])):
        cuts = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        merges += sorted((c for c in cuts if c[0] in plain and c[1] in plain),
                         key=lambda c: (vocab[c[0]], vocab[c[1]]))
    return sentencepiece(pieces=pieces, merges=merges)


def kinds():
    flags = (("<l>", {"lstrip": True}), ("<r>", {"rstrip": True}),
             ("<b>", {"lstrip": True, "rstrip": True, "special": False}),
             ("<w>", {"single_word": True}), ("wrd", {"single_word": True}),
             ("<l> x", {"rstrip": True}), ("two words", {"special": False}),
             ("norm ed", {"normalized": True}), (MARK + "q", {}),
             ("nrm", {"normalized": True, "single_word": True,
                      "special": False}),
             ("c\u0301\u0327", {"normalized": True, "lstrip": True}))
    turns = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    heads = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
             "<|start_header_id|>", "<|end_header_id|>", "<image>"]
    nfc = {"type": "NFC"}
    return {
        "vicuna": sentencepiece(),
        "flags": sentencepiece(tokens=flags),
        "unknown": sentencepiece(fallback=False, decoder=None),
        "metaspace-first": metaspace("first"),
        "metaspace-always": metaspace("always"),
        "metaspace-never": metaspace("never", True),
        "metaspace-split": metaspace("first", True, add_prefix_space=True),
        "llama3": byte_level(LLAMA3, None, True, heads, heads[0]),
        "qwen2": byte_level(QWEN2, nfc, False, turns),
        "gpt2": byte_level(None, nfc, False, turns, use_regex=True,
                           add_prefix_space=True),
    }


SPACES = [" ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", "\x0b",
          "\x0c", "\x1c", "\x85", "\xa0", "\u1680", "\u180e", "\u2003",
          "\u2009", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f",
          "\u3000", "\ufeff", " \n ", "\n  ", "  \t", MARK, MARK + MARK]
CUTS = ["'s", "'S", "'t", "'re", "'RE", "'vE", "'m", "'ll", "'D", "'d",
        "'\u017f", "'x", "''s", "' s", "'r", "'l", "\u2019s"]
DIGITS = "0123456789\u0663\u0967\uff12\u00b2\u00bd\u2167\u3021\U0001d7d8"
MARKS = ("\u0300\u0301\u0304\u0308\u0323\u0327\u0328\u0334\u0338\u0345\u031b"
         "\u05b0\u05bc\u064b\u0651\u093c\u094d\u0f71\u0f72\u3099\u309a\u302a"
         "\u1100\u1112\u1161\u1175\u11a8\u11c2\uac00\uac01\ud7a3\u0958\u0344"
         "\u1e9b\u212b\u2126\uf900\ufb1d\ufb49\u09be\u09c7\u0b3e\u0b47\u1025"
         "\u102e\U0001d15e\U0001d15f\U0001d165\U0001d16e\U00011935\U00011930"
         "\U0002f800\U0001e94a\u08d0\u1ac0aeoAEOcks")


class Texts:
    def __init__(self, seed, tokens):
        self.r = random.Random(seed)
        self.tokens = tokens
        self.words = TEXT.split()

    def code_point(self):
        plane = self.r.choice((0, 0, 0, 1, 1, 2, 3, 14, 15, 16))
        if plane == 0 and self.r.random() < 0.5:
            return chr(self.r.choice((self.r.randrange(1, 0x250),
                                      self.r.randrange(1, 0x3100))))
        c = self.r.randrange(1, 0x10000) + plane * 0x10000
        return "\ufffd" if 0xD800 <= c < 0xE000 else chr(c)

    def long_word(self):
        letters = self.r.choice(("ab", "the", "abcdefghijklmnopqrstuvwxyz",
                                 "aé", "qu\u2581", " ", "<0x41>", MARKS))
        return "".join(self.r.choice(letters)
                       for _ in range(self.r.randrange(20, 200)))

    def token(self):
        t = self.r.choice(self.tokens)
        if self.r.random() < 0.2:
            t = t[self.r.randrange(len(t)):]
        elif self.r.random() < 0.2:
            t = t[:self.r.randrange(len(t))]
        return self.r.choice(("", "", " ", "  ", "\t", "a")) + t + \
            self.r.choice(("", "", " ", "  ", "\n", "a"))

    def piece(self):
        r = self.r
        k = r.randrange(12)
        if k < 3:
            return r.choice(self.words) + r.choice(("", " "))
        if k < 5:
            return r.choice(SPACES)
        if k == 5:
            return "".join(self.code_point() for _ in range(r.randrange(1, 6)))
        if k == 6:
            return r.choice(self.words) + r.choice(CUTS)
        if k == 7:
            return "".join(r.choice(DIGITS) for _ in range(r.randrange(1, 8)))
        if k == 8:
            return "".join(r.choice(MARKS) for _ in range(r.randrange(1, 7)))
        if k == 9:
            return "".join(r.choice("!?.,:;-_()[]{}<>/\\'\"@#$%^&*+=|~` \n")
                           for _ in range(r.randrange(1, 6)))
        if k == 10:
            return self.token()
        if r.random() < 0.2:
            return self.long_word()
        return r.choice(("<0x41>", "<0xFF>", "\u0120", "\u0120a", "\u00c3",
                         "zebra", " zebra", "\u2581zebra", "<unk>", "x y"))

    def text(self):
        return "".join(self.piece() for _ in range(self.r.randrange(1, 12)))

    def ids(self, size):
        """Ids as a model would not give them: bytes and all else mixed."""
        r = self.r
        n = r.randrange(1, 14)
        ids = [r.randrange(size + 2) for _ in range(n)]
        if r.random() < 0.6:
            ids = [r.randrange(3, 259) if r.random() < 0.7 else i
                   for i in ids]
        return ids


def cases(content, n, seed):
    tok = Tokenizer.from_str(json.dumps(content))
    tokens = [t["content"] for t in content["added_tokens"]]
    texts = Texts(seed, tokens)
    encode = [[t, tok.encode(t).ids] for t in
              ["", " ", "\n", "hi", " hi", "  hi  ", *tokens,
               *(texts.text() for _ in range(n))]]
    decode = []
    for i in range(n):
        ids = texts.ids(tok.get_vocab_size())
        if i % 3 == 0:
            ids = tok.encode(texts.text()).ids
        skip = bool(i % 2)
        decode.append([ids, skip, tok.decode(ids, skip_special_tokens=skip)])
    return encode, [d for d in decode if "\0" not in d[2]]


def agree(library, content, encode):
    """Cases where the converted file means what SentencePiece does: a piece
    that can be merged in several ways at once is not one of them."""
    marks = [t["content"] for t in content["added_tokens"]]
    same = [c for c in encode if any(m in c[0] for m in marks) or
            c[1] == [library.bos_id()] + library.encode(c[0])]
    print(f"sentencepiece: {len(same)} of {len(encode)} texts as converted",
          file=sys.stderr)
    return same


def write(folder, name, content, encode, decode, model=None):
    def dump(x):
        return json.dumps(x, ensure_ascii=True, separators=(",", ":"))
    with open(os.path.join(folder, name + ".json"), "w") as f:
        f.write("{")
        if model:
            f.write('"model":%s,\n' % dump(base64.b64encode(model).decode()))
        f.write('"tokenizer":%s,\n"encode":[\n' % dump(content))
        f.write(",\n".join(map(dump, encode)) + '],\n"decode":[\n')
        f.write(",\n".join(map(dump, decode)) + "]}\n")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?",
                        default=os.path.join(here, "golden-text"))
    parser.add_argument("--cases", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    for name, content in kinds().items():
        write(options.folder, name, content,
              *cases(content, options.cases, options.seed))
    model = learned()
    library = SentencePieceProcessor(model_proto=model)
    content = converted(library)
    encode, decode = cases(content, options.cases, options.seed)
    write(options.folder, "sentencepiece", content,
          agree(library, content, encode), decode, model)
    print("tokenizers", tokenizers.__version__, file=sys.stderr)


main()
