#!/usr/bin/env python3
# make-unicode-tables.py - asks the tokenizers library what it knows of Unicode
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   tests/make-unicode-tables.py > engine/unicode-tables.h
#
# The library draws on three Unicode versions at once: its regular expressions
# (letters, numbers), Rust's (word characters), and an older one for NFC. GLib's
# version is the system's. Ids must not depend on the system, so every code
# point is put to the library and its answers become tables.
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from tokenizers import pre_tokenizers
from tokenizers.models import BPE

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
NFC = normalizers.NFC().normalize_str
NFD = normalizers.NFD().normalize_str


def chunks(size):
    return (CODES[i:i + size] for i in range(0, len(CODES), size))


def matching(regex):
    """Code points that match a one-character expression."""
    cut = pre_tokenizers.Split(Regex(regex + "+"), "removed")
    found = set()
    for block in chunks(4096):
        kept = set()
        for _, (a, b) in cut.pre_tokenize_str("".join(map(chr, block))):
            kept.update(range(a, b))
        found.update(c for i, c in enumerate(block) if i not in kept)
    return found


def word_characters():
    """Code points that keep a single_word token from matching."""
    tok = Tokenizer(BPE(vocab={"-": 0}, merges=[]))
    tok.add_special_tokens([AddedToken("QQ", single_word=True,
                                       normalized=False)])
    whole = [tok.token_to_id("QQ")]
    found = set()
    for block in chunks(20000):
        texts = [chr(c) + "QQ" for c in block]
        for c, e in zip(block, tok.encode_batch_fast(texts)):
            if whole[0] not in e.ids:
                found.add(c)
    return found


def reorders(c):
    """Whether NFD moves c among combining marks: its class is not 0."""
    over, below = chr(0x334), chr(0x345)  # classes 1 and 240
    ch = chr(c)
    return (NFD("a" + ch + over) == "a" + over + ch or
            NFD("a" + below + ch) == "a" + ch + below)


def classes():
    """{code: combining class}. Classes never change once assigned, so
    Python's value serves wherever the library knows the mark."""
    known = {c: unicodedata.combining(chr(c)) for c in CODES}
    return {c: k for c, k in known.items()
            if k and (reorders(c) or c in (0x334, 0x345))}


def hangul(c):
    return 0xAC00 <= c < 0xAC00 + 11172


def decompositions():
    full = {c: NFD(chr(c)) for c in CODES if not hangul(c)}
    return {c: s for c, s in full.items() if s != chr(c)}


def compositions(full):
    pairs = {}
    for c, s in full.items():
        if len(s) < 2 or NFC(chr(c)) != chr(c):
            continue
        first = NFC(s[:-1])
        if len(first) == 1 and NFC(first + s[-1]) == chr(c):
            pairs[(ord(first), ord(s[-1]))] = c
        else:
            sys.exit("U+%04X does not compose from a pair" % c)
    return pairs


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(kind, name, comment, rows):
    print("\n/* %s */\nstatic const %s %s[] = {" % (comment, kind, name))
    line = " "
    for row in rows:
        item = " " + row + ","
        if len(line) + len(item) > 79:
            print(line)
            line = " "
        line += item
    print(line + "\n};")


def main():
    print("""/* unicode-tables.h - made by tests/make-unicode-tables.py
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What tokenizers %s knows of Unicode. Included by unicode.c alone.
 */
#pragma once

/* clang-format off */""" % tokenizers.__version__)
    sets = (("letters", r"\p{L}", matching(r"\p{L}")),
            ("numbers", r"\p{N}", matching(r"\p{N}")),
            ("spaces", r"\s", matching(r"\s")),
            ("words", r"\w", word_characters()))
    for name, regex, codes in sets:
        table("CodeRange", name, regex,
              ["{ 0x%x, 0x%x }" % (a, b) for a, b in ranges(codes)])
    marks = classes()
    rows = []
    for k in sorted(set(marks.values())):
        rows += [(a, b, k) for a, b in
                 ranges(c for c in marks if marks[c] == k)]
    table("CodeClass", "classes", "canonical combining classes but 0",
          ["{ 0x%x, 0x%x, %d }" % r for r in sorted(rows)])
    full = decompositions()
    pool, rows = "", []
    for c in sorted(full):
        if full[c] not in pool:
            pool += full[c]
        rows.append("{ 0x%x, %d, %d }" % (c, pool.index(full[c]),
                                          len(full[c])))
    table("gunichar", "decomposed", "full canonical decompositions",
          ["0x%x" % ord(c) for c in pool])
    table("CodeSlice", "decompositions", "code, first, length in decomposed",
          rows)
    table("CodePair", "compositions", "first, second, composed",
          ["{ 0x%x, 0x%x, 0x%x }" % (a, b, c)
           for (a, b), c in sorted(compositions(full).items())])


main()
