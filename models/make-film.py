# make-film.py - makes the sample film: moving scenes, VP8 in WebM
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python make-film.py ../pipelines/sample.webm
# Six scenes of the kind the shipped model describes, 640x480, 15 pictures a
# second. Things sway and turn inside their own place, so one description holds
# for a whole scene. Needs gst-launch-1.0 with rawvideoparse, vp8enc, webmmux.
import math
import subprocess
import sys

import numpy as np
from PIL import Image

import language
import scenes

W, H, FPS, UP = 640, 480, 15, 5
LENGTHS = [2.4, 2.2, 2.6, 2.2, 2.4, 2.2]  # seconds
SHAPES = [2, 3, 1, 4, 3, 2]
TEXTS = [0, 1, 1, 0, 1, 1]


def moved(thing, t, phase):
    """The thing t seconds later, at UP times the size."""
    out = {k: v for k, v in thing.items() if k != "half"}
    sway = 6 * math.sin(2 * math.pi * (t / 2.2 + phase))
    bob = 4 * math.cos(2 * math.pi * (t / 1.7 + phase))
    out["x"], out["y"] = (thing["x"] + sway) * UP, (thing["y"] + bob) * UP
    if thing["kind"] == "text":
        out["size"] = thing["size"] * UP
    else:
        out["r"] = thing["r"] * UP
        out["turn"] = 0.22 * math.sin(2 * math.pi * (t / 3 + phase))
    return out


def quiet_scene(rng, n_shapes, n_texts):
    """A scene whose things can sway without leaving or touching anything."""
    layout = scenes.Layout(256, 192)
    while True:
        w, h, things = scenes.sparse(rng, (256, 192), scenes.held_out_text, n_shapes=n_shapes, n_texts=n_texts)
        if len(things) != n_shapes + n_texts:
            continue
        if not all(layout.one_tile(t["x"], t["y"], scenes.half_size(t)[0] + 7, scenes.half_size(t)[1] + 5)
                   for t in things if t["kind"] == "text"):
            continue
        if all(scenes.fits(t, [o for o in things if o is not t], w, h, 14) and
               8 < t["x"] - scenes.half_size(t)[0] and t["x"] + scenes.half_size(t)[0] < w - 8 and
               6 < t["y"] - scenes.half_size(t)[1] and t["y"] + scenes.half_size(t)[1] < h - 6 and
               abs(t["x"] * 3 / w - t["cell"] % 3 - 0.5) < 0.27 and
               abs(t["y"] * 3 / h - t["cell"] // 3 - 0.5) < 0.27 for t in things):
            return things


def frames(rng):
    for length, n_shapes, n_texts in zip(LENGTHS, SHAPES, TEXTS):
        things = quiet_scene(rng, n_shapes, n_texts)
        print(language.describe(things), file=sys.stderr)
        ground = np.asarray(Image.fromarray(np.clip(scenes.background(rng, 64, 48), 0, 255).astype(np.uint8))
                            .resize((W * 2, H * 2), Image.BICUBIC).resize((256 * UP, 192 * UP)))
        phases = rng.uniform(0, 1, len(things))
        for i in range(round(length * FPS)):
            now = [moved(t, i / FPS, p) for t, p in zip(things, phases)]
            picture, _, _ = scenes.draw(rng, 256 * UP, 192 * UP, now, ground=ground)
            yield picture.resize((W, H), Image.BICUBIC).tobytes()


def main():
    encoder = subprocess.Popen(
        ["gst-launch-1.0", "-q", "fdsrc", "!", "rawvideoparse", f"width={W}", f"height={H}", "format=rgb",
         f"framerate={FPS}/1", "!", "videoconvert", "!", "vp8enc", "target-bitrate=400000", "deadline=1",
         "cpu-used=2", "keyframe-max-dist=30", "!", "webmmux", "!", "filesink", f"location={sys.argv[1]}"],
        stdin=subprocess.PIPE)
    for frame in frames(np.random.default_rng(20)):
        encoder.stdin.write(frame)
    encoder.stdin.close()
    sys.exit(encoder.wait())


if __name__ == "__main__":
    main()
