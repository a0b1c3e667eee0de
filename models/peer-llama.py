# peer-llama.py - llama.cpp timed on the frame that hiredvlm-bench times
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python peer-llama.py PROGRAMS [--layers N] [--weights bf16|f32] [--rounds N] [--repetitions N]
# PROGRAMS is the folder of llama-bench and llama-mtmd-cli. Writes LLaVA-NeXT
# with Vicuna-7B's shape and random weights as two GGUF files, needs the package
# gguf for it, and times: a picture of 672x672 through encoder and projector
# (llama-mtmd-cli's own words), the prompt of all its tokens and of a fifth,
# a token after each (llama-bench). Then hiredvlm-bench, in turn.
import json
import re
import statistics
import subprocess
import tempfile

import gguf
import numpy as np
from PIL import Image

import peer

PINPOINTS = [336, 672, 672, 336, 672, 672, 1008, 336, 336, 1008]
TYPES = {"bf16": gguf.GGMLQuantizationType.BF16, "f32": gguf.GGMLQuantizationType.F32}
WIDTH, HIDDEN, HEADS, VOCABULARY = 4096, 11008, 32, 32064
VISION, VISION_HIDDEN, VISION_HEADS = 1024, 4096, 16
RANDOM = np.random.default_rng(1)


def values(*shape):
    return (RANDOM.random(shape, dtype=np.float32) - 0.5) * 0.04


class Writer(gguf.GGUFWriter):
    def matrix(self, name, rows, cols, kind):
        self.add_tensor(name, gguf.quants.quantize(values(rows, cols), kind), raw_dtype=kind)

    def vector(self, name, n, value=0.0):
        self.add_tensor(name, np.full(n, value, dtype=np.float32))

    def close_file(self):
        self.write_header_to_file()
        self.write_kv_data_to_file()
        self.write_tensors_to_file()
        self.close()


def write_text(path, layers, kind):
    w = Writer(path, "llama")
    w.add_context_length(4096)
    w.add_embedding_length(WIDTH)
    w.add_block_count(layers)
    w.add_feed_forward_length(HIDDEN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(HEADS)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(WIDTH // HEADS)
    w.add_vocab_size(VOCABULARY)
    w.add_tokenizer_model("llama")
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    tokens = ["<unk>", "<s>", "</s>"] + bytes_
    tokens += [f"\u2581w{i}" for i in range(VOCABULARY - len(tokens))]
    w.add_token_list(tokens)
    w.add_token_scores([-float(i) for i in range(VOCABULARY)])
    w.add_token_types([2, 3, 3] + [6] * 256 + [1] * (VOCABULARY - 259))
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.matrix("token_embd.weight", VOCABULARY, WIDTH, kind)
    w.matrix("output.weight", VOCABULARY, WIDTH, kind)
    w.vector("output_norm.weight", WIDTH, 1)
    for i in range(layers):
        for name in "attn_q", "attn_k", "attn_v", "attn_output":
            w.matrix(f"blk.{i}.{name}.weight", WIDTH, WIDTH, kind)
        w.matrix(f"blk.{i}.ffn_gate.weight", HIDDEN, WIDTH, kind)
        w.matrix(f"blk.{i}.ffn_up.weight", HIDDEN, WIDTH, kind)
        w.matrix(f"blk.{i}.ffn_down.weight", WIDTH, HIDDEN, kind)
        w.vector(f"blk.{i}.attn_norm.weight", WIDTH, 1)
        w.vector(f"blk.{i}.ffn_norm.weight", WIDTH, 1)
    w.close_file()


def write_vision(path, layers, kind):
    w = Writer(path, "clip")
    w.add_bool("clip.has_vision_encoder", True)
    w.add_bool("clip.has_llava_projector", True)
    w.add_string("clip.projector_type", "mlp")
    w.add_uint32("clip.vision.image_size", 336)
    w.add_uint32("clip.vision.patch_size", 14)
    w.add_uint32("clip.vision.embedding_length", VISION)
    w.add_uint32("clip.vision.feed_forward_length", VISION_HIDDEN)
    w.add_uint32("clip.vision.projection_dim", 768)
    w.add_uint32("clip.vision.attention.head_count", VISION_HEADS)
    w.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    w.add_uint32("clip.vision.block_count", layers + 1)  # the last one is not run
    w.add_array("clip.vision.image_grid_pinpoints", PINPOINTS)
    w.add_string("clip.vision.mm_patch_merge_type", "spatial_unpad")
    w.add_array("clip.vision.image_mean", [0.48145466, 0.4578275, 0.40821073])
    w.add_array("clip.vision.image_std", [0.26862954, 0.26130258, 0.27577711])
    w.add_bool("clip.use_gelu", False)
    w.add_tensor("v.patch_embd.weight", values(VISION, 3, 14, 14))
    w.vector("v.class_embd", VISION)
    w.add_tensor("v.position_embd.weight", values(577, VISION))
    for name in "v.pre_ln", "v.post_ln":
        w.vector(name + ".weight", VISION, 1)
        w.vector(name + ".bias", VISION)
    for i in range(layers + 1):
        block = f"v.blk.{i}."
        for name, rows, cols in [("attn_q", VISION, VISION), ("attn_k", VISION, VISION), ("attn_v", VISION, VISION),
                                 ("attn_out", VISION, VISION), ("ffn_up", VISION_HIDDEN, VISION),
                                 ("ffn_down", VISION, VISION_HIDDEN)]:
            w.matrix(f"{block}{name}.weight", rows, cols, kind)
            w.vector(f"{block}{name}.bias", rows)
        for name in "ln1", "ln2":
            w.vector(f"{block}{name}.weight", VISION, 1)
            w.vector(f"{block}{name}.bias", VISION)
    w.matrix("mm.0.weight", WIDTH, VISION, kind)
    w.vector("mm.0.bias", WIDTH)
    w.matrix("mm.2.weight", WIDTH, WIDTH, kind)
    w.vector("mm.2.bias", WIDTH)
    w.vector("v.image_newline", WIDTH)
    w.close_file()


def run(*line):
    return subprocess.run([str(x) for x in line], check=True, capture_output=True, text=True)


def their_vision(a, folder):
    """Milliseconds of the whole picture; the sum, if it comes in slices."""
    out = run(a.programs + "/llama-mtmd-cli", "-m", folder + "/text.gguf", "--mmproj", folder + "/vision.gguf",
              "--image", folder + "/picture.png", "-p", "w1", "-n", 1, "-t", a.threads, "-c", 4096,
              "--chat-template", "vicuna")
    found = re.findall(r"encoding done in (\d+) ms", out.stdout + out.stderr)
    if not found:
        raise SystemExit(out.stdout + out.stderr)
    return sum(map(int, found))


def samples(a, folder, *line):
    """Milliseconds of each repetition."""
    out = run(a.programs + "/llama-bench", "-m", folder + "/text.gguf", "-t", a.threads, "-r", a.repetitions, "-o",
              "json", *line)
    return [ns / 1e6 for ns in json.loads(out.stdout)[0]["samples_ns"]]


def their_text(a, folder, prompts):
    """{phase: ms}: prompts and the tokens after them."""
    ms = {}
    for n in prompts:
        ms[f"prefill {n}"] = statistics.median(samples(a, folder, "-p", n, "-n", 0))
        ms[f"decode after {n}"] = statistics.median(samples(a, folder, "-p", 0, "-n", a.tokens, "-d", n)) / a.tokens
    return ms


def ours(a):
    ms, prompts = {}, []
    for budget in 1, a.budget:
        found, n = peer.bench(a, budget)
        prompts.append(n)
        if budget == 1:
            ms["vision and projector"] = found["vision and projector"]
        ms[f"prefill {n}"], ms[f"decode after {n}"] = found["prefill"], found["decode"]
    return ms, prompts


def main():
    p = peer.parser(["llava-v1.6-vicuna-7b"])
    p.add_argument("programs")
    p.add_argument("--repetitions", type=int, default=3)
    a = p.parse_args()
    if a.size != "672x672":
        p.error(f"--size: the picture is 672x672, not {a.size}")
    with tempfile.TemporaryDirectory() as folder:
        write_text(folder + "/text.gguf", a.layers, TYPES[a.weights])
        write_vision(folder + "/vision.gguf", a.layers, TYPES[a.weights])
        Image.fromarray(RANDOM.integers(0, 256, (672, 672, 3), dtype=np.uint8)).save(folder + "/picture.png")
        rounds = []
        for _ in range(a.rounds):
            mine, prompts = ours(a)
            theirs = their_text(a, folder, prompts)
            theirs["vision and projector"] = their_vision(a, folder)
            rounds.append([theirs, mine])
    peer.table(a, ["llama.cpp", "hiredvlm"], rounds, mine)


if __name__ == "__main__":
    main()
