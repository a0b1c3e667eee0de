# peer-transformers.py - transformers timed on the frame that hiredvlm-bench times
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python peer-transformers.py [--shape NAME] [--layers N] [--weights bf16|f32] [--size WxH] [--rounds N]
# LlavaNextForConditionalGeneration of the same shape with random weights, on as
# many threads, phase by phase: its own image processor, the encoder's layers
# that are used (it would run one more) with the projector, the prompt, a token.
# Then hiredvlm-bench, with all tokens and with a fifth of them. In turn, for
# some rounds; medians of the rounds' medians.
import statistics
import time

import numpy as np
import torch
from transformers import (CLIPVisionConfig, DynamicCache, LlamaConfig, LlavaNextConfig,
                          LlavaNextForConditionalGeneration, LlavaNextImageProcessor, MistralConfig)

import peer

PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
TEXTS = {
    "llava-v1.6-vicuna-7b": LlamaConfig(vocab_size=32064, rms_norm_eps=1e-5, max_position_embeddings=4096),
    "llava-v1.6-vicuna-13b": LlamaConfig(vocab_size=32064, hidden_size=5120, intermediate_size=13824,
                                         num_attention_heads=40, num_key_value_heads=40, rms_norm_eps=1e-5,
                                         max_position_embeddings=4096),
    "mistral-7b": MistralConfig(vocab_size=32064, sliding_window=None, rms_norm_eps=1e-5,
                                max_position_embeddings=32768),
}
AROUND = 32  # prompt tokens before and after the picture
PHASES = ["preprocess", "vision and projector", "prefill", "decode", "first token"]
FRAMES = 3


def model_of(a):
    text = TEXTS[a.shape]
    text.num_hidden_layers = a.layers
    vision = CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=a.layers,
                              num_attention_heads=16, image_size=336, patch_size=14, projection_dim=768)
    config = LlavaNextConfig(vision_config=vision, text_config=text, image_token_index=32000,
                             image_grid_pinpoints=PINPOINTS, vision_feature_layer=-1)
    torch.set_default_dtype({"bf16": torch.bfloat16, "f32": torch.float32}[a.weights])
    return LlavaNextForConditionalGeneration(config).eval()


def laps():
    """Milliseconds since the last call."""
    last = time.perf_counter()
    while True:
        now = time.perf_counter()
        yield 1e3 * (now - last)
        last = now


@torch.inference_mode()
def frame(a, model, processor, picture):
    clock, ms = laps(), {}
    next(clock)
    inputs = processor(images=picture, return_tensors="pt")
    pixels = inputs["pixel_values"].to(torch.get_default_dtype())
    ms["preprocess"] = next(clock)
    image = model.model.get_image_features(pixels, inputs["image_sizes"]).pooler_output[0]
    ms["vision and projector"] = next(clock)
    prompt = torch.cat([model.get_input_embeddings()(torch.arange(3, 3 + AROUND)), image])[None]
    cache = DynamicCache(config=model.config.text_config)
    out = model(inputs_embeds=prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1:].argmax(-1)
    ms["prefill"] = next(clock)
    for _ in range(a.tokens):
        out = model(input_ids=token, past_key_values=cache, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
    ms["decode"] = next(clock) / a.tokens
    ms["first token"] = ms["preprocess"] + ms["vision and projector"] + ms["prefill"]
    return ms


def theirs(a, model, processor, picture):
    frames = [frame(a, model, processor, picture) for _ in range(FRAMES + 1)][1:]
    return {p: statistics.median(ms[p] for ms in frames) for p in PHASES}


def main():
    a = peer.parser(TEXTS).parse_args()
    torch.set_num_threads(a.threads)
    width, height = map(int, a.size.split("x"))
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    model = model_of(a)
    processor = LlavaNextImageProcessor(image_grid_pinpoints=PINPOINTS, size={"shortest_edge": 336}, crop_size=336)
    rounds = [[theirs(a, model, processor, picture), peer.bench(a, 1)[0], peer.bench(a, a.budget)[0]]
              for _ in range(a.rounds)]
    peer.table(a, ["transformers", "hiredvlm, all tokens", f"hiredvlm, {a.budget:g}"], rounds, PHASES)


if __name__ == "__main__":
    main()
