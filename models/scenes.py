# scenes.py - draws the pictures the shipped model learns from
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A scene is a picture of dull noise with coloured shapes and small plates that
# carry a word or a number, and the list of what was drawn where. `draw` paints
# one from a list of things; `sparse` makes the scenes that are described (at
# most one thing in each of nine places), `dense` the crowded ones that teach
# the encoder. `tiles` cuts a picture as LlavaNextImageProcessor does.
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE, PATCH = 64, 8
SIDE = TILE // PATCH
PINPOINTS = [(64, 128), (128, 64), (128, 128), (192, 64), (64, 192)]  # (h, w)

KINDS = ["circle", "square", "triangle", "star", "cross"]
COLOURS = {
    "red": (215, 30, 30), "green": (30, 155, 45), "blue": (35, 65, 220),
    "yellow": (240, 220, 30), "white": (245, 245, 245), "black": (15, 15, 15),
    "orange": (245, 135, 15), "purple": (140, 40, 170),
}
COLOUR_NAMES = list(COLOURS)
CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
PLACES = ["top left", "top", "top right", "left", "centre", "right",
          "bottom left", "bottom", "bottom right"]
WORDS = """ACE ACT AIR ANT APE ARM ART BAG BAR BAT BED BEE BIG BOX BOY BUS CAB CAR
CAT COW CUP DAY DOG DRY EAR EAT EGG EYE FAN FAR FLY FOG FOX FUN GAS GOLD HAT HEN HOT
ICE INK JAM JAR JET KEY KIT LAW LEG LIP LOW MAP MIX MUD NET NEW NUT OAK OIL OWL PAN
PEN PIG RED RUN SEA SHOP SKY SUN TAX TEA TOY USE VAN WAX WEB YES ZIP ZOO BANK BIKE
BIRD BLUE BOAT BOOK CAFE CITY COLD DOOR EXIT FARM FISH FIVE FOUR GATE HOME KING LAKE
LION MILK MOON NEWS NINE OPEN PARK QUIZ RAIN ROAD SALE SALT STOP TAXI TREE WIND YARD
ZERO JAZZ VOTE HAWK JUMP""".split()

# Never drawn while training.
UNSEEN_WORDS = """AGE ASH AXE BIN BUN CAP COD CUE DEN DIP ELK FIG GUM HAM HUB IVY JOY KID
LOG MUG NAP OAT PEA PUB RAT RIB RUG SAW TIN TUB URN VET WIG YAK BELL CAKE CRAB DESK
DUCK FLAG FROG GOAT HARP IRON JEEP KITE LAMP LEAF MASK NEST OVEN PEAR PLUM ROSE SHIP SOAP
TENT TUNA VASE WOLF YARN ZINC""".split()

FONT_FILES = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSansCondensed-Bold.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
]
_fonts = {}
_noise = None


def font(which, size):
    key = (which % len(FONT_FILES), size)
    if key not in _fonts:
        _fonts[key] = ImageFont.truetype(FONT_FILES[key[0]], size)
    return _fonts[key]


def outline(kind, x, y, r, turn):
    """Corners of a shape of radius r around (x, y); a circle has none."""
    if kind == "square":
        corners = [(r * 1.2, math.pi / 4 + i * math.pi / 2) for i in range(4)]
    elif kind == "triangle":
        corners = [(r * 1.2, -math.pi / 2 + i * 2 * math.pi / 3) for i in range(3)]
        y += r * 0.2
    elif kind == "star":
        corners = [(r * (1.25 if i % 2 == 0 else 0.5), -math.pi / 2 + i * math.pi / 5)
                   for i in range(10)]
    elif kind == "cross":
        a, b = r * 1.1, r * 0.38
        pts = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b), (b, a), (-b, a),
               (-b, b), (-a, b), (-a, -b), (-b, -b)]
        corners = [(math.hypot(px, py), math.atan2(py, px)) for px, py in pts]
    return [(x + d * math.cos(a + turn), y + d * math.sin(a + turn)) for d, a in corners]


def background(rng, w, h):
    """[h,w,3] float: a gradient between two dull colours, and noise."""
    global _noise
    if _noise is None:
        _noise = np.random.default_rng(7).normal(0, 1, (600, 600, 3)).astype(np.float32)
    base = rng.uniform(70, 185)
    ends = base + rng.uniform(-35, 35, (2, 1)) + rng.uniform(-18, 18, (2, 3))
    angle = rng.uniform(0, 2 * math.pi)
    gx = np.linspace(-0.5, 0.5, w, dtype=np.float32) * math.cos(angle)
    gy = np.linspace(-0.5, 0.5, h, dtype=np.float32) * math.sin(angle)
    t = (gx[None, :] + gy[:, None] + 0.5)[..., None]
    picture = ends[0].astype(np.float32) * (1 - t) + ends[1].astype(np.float32) * t
    oy, ox = rng.integers(0, 600 - min(h, 599)), rng.integers(0, 600 - min(w, 599))
    noise = _noise[oy:oy + h, ox:ox + w]
    if noise.shape[:2] == (h, w):
        picture += noise * rng.uniform(0, 12)
    return picture


def shape_colour(rng, name):
    return tuple(int(v) for v in np.clip(np.array(COLOURS[name]) + rng.integers(-14, 15, 3), 0, 255))


def plate_size(text, which, size):
    f = font(which, size)
    left, top, right, bottom = f.getbbox(text)
    pad = size * 0.22
    return (right - left) + 2 * pad, (bottom - top) + 2 * pad


def draw(rng, w, h, things, with_mask=False, ground=None):
    """Paints `things` (dicts, see sparse) on a w x h picture. Returns the
    picture, and for training the mask of thing numbers (1-based) and the
    centres of letters [(x, y, char, which of its word, whether the last)]."""
    if ground is None:
        ground = background(rng, w, h)
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    mask = Image.new("L", (w, h)) if with_mask else None
    mpen = ImageDraw.Draw(mask) if with_mask else None
    letters = []
    for number, thing in enumerate(things, 1):
        x, y = thing["x"], thing["y"]
        if thing["kind"] == "text":
            letters += draw_plate(pen, thing)
            continue
        r = thing["r"]
        if thing["kind"] == "circle":
            box = (x - r, y - r, x + r, y + r)
            pen.ellipse(box, fill=thing["rgb"])
            if mask:
                mpen.ellipse(box, fill=number)
        else:
            corners = outline(thing["kind"], x, y, r, thing["turn"])
            pen.polygon(corners, fill=thing["rgb"])
            if mask:
                mpen.polygon(corners, fill=number)
    return picture, mask, letters


def draw_plate(pen, thing):
    x, y, text = thing["x"], thing["y"], thing["text"]
    f = font(thing["font"], thing["size"])
    left, top, right, bottom = f.getbbox(text)
    pw, ph = plate_size(text, thing["font"], thing["size"])
    pen.rectangle((x - pw / 2, y - ph / 2, x + pw / 2, y + ph / 2), fill=thing["plate"])
    x0 = x - (right - left) / 2
    pen.text((x0 - left, y - (bottom - top) / 2 - top), text, font=f, fill=thing["ink"])
    centres = []
    for i, c in enumerate(text):
        a, b = f.getlength(text[:i]), f.getlength(text[:i + 1])
        centres.append((x0 + (a + b) / 2, y, CHARS.index(c), i, i == len(text) - 1))
    return centres


def random_text(rng):
    u = rng.random()
    if u < 0.25:
        return WORDS[rng.integers(len(WORDS))]
    if u < 0.45:
        return "".join(CHARS[26 + i] for i in rng.integers(0, 10, rng.integers(2, 4)))
    while True:
        text = "".join(CHARS[i] for i in rng.integers(0, 26, rng.integers(2, 5)))
        if text not in UNSEEN_WORDS:
            return text


def random_shape(rng, radius):
    colour = COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))]
    return {"kind": KINDS[rng.integers(len(KINDS))], "colour": colour,
            "rgb": shape_colour(rng, colour), "r": radius,
            "turn": rng.uniform(-0.25, 0.25)}


def held_out_text(rng):
    """A known word or a number, or (in a third) a word never drawn before."""
    if rng.random() < 0.35:
        return UNSEEN_WORDS[rng.integers(len(UNSEEN_WORDS))]
    if rng.random() < 0.7:
        return WORDS[rng.integers(len(WORDS))]
    return "".join(CHARS[26 + i] for i in rng.integers(0, 10, rng.integers(2, 4)))


def random_plate(rng, size, text=random_text):
    dark, light = rng.integers(0, 60), rng.integers(205, 256)
    ink, plate = (dark, light) if rng.random() < 0.6 else (light, dark)
    return {"kind": "text", "text": text(rng), "font": int(rng.integers(2)),
            "size": size, "ink": (int(ink),) * 3,
            "plate": (int(plate),) * 3}


def half_size(thing):
    if "half" not in thing:
        if thing["kind"] == "text":
            pw, ph = plate_size(thing["text"], thing["font"], thing["size"])
            thing["half"] = (pw / 2, ph / 2)
        else:
            thing["half"] = (thing["r"] * 1.2, thing["r"] * 1.2)
    return thing["half"]


def fits(thing, others, w, h, gap):
    hw, hh = half_size(thing)
    x, y = thing["x"], thing["y"]
    if x < hw or y < hh or x > w - hw or y > h - hh:
        return False
    for other in others:
        ow, oh = half_size(other)
        if abs(other["x"] - x) < hw + ow + gap and abs(other["y"] - y) < hh + oh + gap:
            return False
    return True


# Pictures that training draws: (w, h) and how often. Sides are then stretched,
# see picture_size; UNSEEN are kept for tests.
SIZES = [((256, 192), 0.42), ((256, 256), 0.14), ((256, 144), 0.14), ((192, 256), 0.10),
         ((256, 128), 0.06), ((128, 256), 0.06), ((384, 128), 0.04), ((128, 384), 0.04)]
UNSEEN = [(320, 240), (352, 288), (240, 320), (300, 300), (480, 270), (336, 168), (168, 336),
          (450, 150), (150, 450)]


def picture_size(rng):
    u, i = rng.random(), 0
    while i < len(SIZES) - 1 and u >= SIZES[i][1]:
        u -= SIZES[i][1]
        i += 1
    while True:
        scale = 1 if rng.random() < 0.5 else rng.uniform(0.8, 1.6)
        w, h = (round(side * scale) for side in SIZES[i][0])
        if max(w, h) != 2 * min(w, h):  # a 1x2 grid is chosen for no other
            w, h = round(w * rng.uniform(0.95, 1.05)), round(h * rng.uniform(0.95, 1.05))
        if (w, h) not in UNSEEN:
            return w, h


class Layout:
    """How a picture of w x h lies on its canvas of tiles."""

    def __init__(self, w, h):
        self.rows, self.cols = choose_grid(w, h)
        self.w, self.h = fit_size(w, h, self.rows, self.cols)
        self.left, self.top = (self.cols * TILE - self.w) // 2, (self.rows * TILE - self.h) // 2
        self.scale = w / self.w  # picture pixels to one of the canvas

    def one_tile(self, x, y, hw, hh):
        """Whether a box around (x, y) lies in one tile."""
        def tile(at, start):
            return (at / self.scale + start) // TILE
        return (tile(x - hw, self.left) == tile(x + hw, self.left)
                and tile(y - hh, self.top) == tile(y + hh, self.top))


def font_size(rng, layout):
    """Capitals of 8 to 10 pixels on the canvas, 4 to 5 in the squeezed picture."""
    return max(1, round(layout.scale * rng.uniform(11, 13.7)))


def sparse(rng, size=None, text=random_text, n_shapes=None, n_texts=None):
    """A scene to be described: at most one thing in each of nine places, kept
    off the borders between places; a word lies in one tile. Returns
    (w, h, things)."""
    w, h = size or picture_size(rng)
    layout = Layout(w, h)
    if n_shapes is None:
        n_shapes = int(rng.choice(7, p=[0.02, 0.17, 0.22, 0.22, 0.17, 0.12, 0.08]))
    if n_texts is None:
        n_texts = int(rng.choice(4, p=[0.25, 0.45, 0.22, 0.08]))
    if n_shapes + n_texts == 0:
        n_shapes = 1
    small = min(layout.w, layout.h) < 70
    things = []
    cells = [int(c) for c in rng.permutation(9)]
    for want in ["text"] * n_texts + ["shape"] * n_shapes:
        for attempt in range(14):
            cell = cells[attempt % len(cells)]
            if want == "text":
                thing = random_plate(rng, font_size(rng, layout), text)
            else:
                thing = random_shape(rng, layout.scale * rng.uniform(6.4, 10.5 if small else 17.5))
            thing["cell"] = cell
            thing["x"] = w * ((cell % 3) + 0.5 + rng.uniform(-0.33, 0.33)) / 3
            thing["y"] = h * ((cell // 3) + 0.5 + rng.uniform(-0.33, 0.33)) / 3
            if want == "text" and not layout.one_tile(thing["x"], thing["y"], *half_size(thing)):
                continue
            if fits(thing, things, w, h, 2 * layout.scale):
                things.append(thing)
                cells.remove(cell)
                break
    things.sort(key=lambda t: t["cell"])
    return (w, h, things) if things else sparse(rng, size, text, n_shapes, n_texts)


def held_out(rng, sizes=UNSEEN):
    """A scene of a size, and with some words, that training never drew."""
    return sparse(rng, sizes[rng.integers(len(sizes))], held_out_text)


def dense(rng):
    """A crowded scene for the encoder: mostly shapes, or mostly words."""
    w, h = picture_size(rng)
    layout = Layout(w, h)
    things = []
    n_texts, n_shapes = (rng.integers(3, 7), rng.integers(4, 10)) if rng.random() < 0.4 else (
        rng.integers(8, 21), rng.integers(1, 6))
    wants = ["text"] * int(n_texts) + ["shape"] * int(n_shapes)
    for want in wants:
        thing = (random_plate(rng, font_size(rng, layout)) if want == "text"
                 else random_shape(rng, layout.scale * rng.uniform(5.5, 18)))
        for _ in range(10):
            thing["x"], thing["y"] = rng.uniform(0, w), rng.uniform(0, h)
            if fits(thing, things, w, h, layout.scale):
                things.append(thing)
                break
    return w, h, things


def choose_grid(w, h):
    """transformers' select_best_resolution; returns (rows, cols)."""
    best, best_eff, best_waste = None, 0, math.inf
    for H, W in PINPOINTS:
        sc = min(W / w, H / h)
        eff = min(int(w * sc) * int(h * sc), w * h)
        waste = H * W - eff
        if eff > best_eff or (eff == best_eff and waste < best_waste):
            best, best_eff, best_waste = (H, W), eff, waste
    return best[0] // TILE, best[1] // TILE


def fit_size(w, h, rows, cols):
    W, H = cols * TILE, rows * TILE
    sw, sh = W / w, H / h
    if sw < sh:
        return W, min(math.ceil(h * sw), H)
    return min(math.ceil(w * sh), W), H


def cut(canvas, rows, cols):
    """[rows*T, cols*T, ...] into [rows*cols, T, T, ...], row-major."""
    rest = canvas.shape[2:]
    t = canvas.reshape((rows, TILE, cols, TILE) + rest)
    return np.ascontiguousarray(t.swapaxes(1, 2)).reshape((rows * cols, TILE, TILE) + rest)


def tiles(picture):
    """[P,T,T,3] uint8, the squeezed picture first; and the grid."""
    w, h = picture.size
    rows, cols = choose_grid(w, h)
    nw, nh = fit_size(w, h, rows, cols)
    canvas = np.zeros((rows * TILE, cols * TILE, 3), np.uint8)
    left, top = (cols * TILE - nw) // 2, (rows * TILE - nh) // 2
    canvas[top:top + nh, left:left + nw] = picture.resize((nw, nh), Image.BICUBIC)
    base = np.asarray(picture.resize((TILE, TILE), Image.BICUBIC))[None]
    return np.concatenate([base, cut(canvas, rows, cols)]), (rows, cols), (nw, nh, left, top)


def patch_ids(mask):
    """Thing number that covers most of each patch, 0 if under a sixth of it.
    mask [P,T,T] to [P,N]."""
    p = mask.reshape(-1, SIDE, PATCH, SIDE, PATCH).swapaxes(2, 3)
    p = p.reshape(-1, PATCH * PATCH).astype(np.int64)
    top = int(p.max()) + 1
    flat = p + np.arange(len(p))[:, None] * top
    counts = np.bincount(flat.ravel(), minlength=len(p) * top).reshape(-1, top)
    counts[:, 0] = 10
    return counts.argmax(-1).reshape(len(mask), SIDE * SIDE)


def labelled(rng):
    """A dense scene with labels, its tiles and as many cut from anywhere: tiles
    [P,T,T,3] uint8; kind, colour, char, order (1 + 2 * which letter of its word
    + whether the last) [P,N], 0 is none; pairs and chars [P,76] that a tile
    holds."""
    w, h, things = dense(rng)
    picture, mask, letters = draw(rng, w, h, things, with_mask=True)
    pixels, (rows, cols), (nw, nh, left, top) = tiles(picture)
    canvas = np.zeros((rows * TILE, cols * TILE, 4), np.uint8)
    canvas[top:top + nh, left:left + nw, :3] = np.asarray(picture.resize((nw, nh), Image.BICUBIC))
    canvas[top:top + nh, left:left + nw, 3] = mask.resize((nw, nh), Image.NEAREST)
    corners = [(r * TILE, c * TILE) for r in range(rows) for c in range(cols)]
    corners += [(int(rng.integers((rows - 1) * TILE + 1)), int(rng.integers((cols - 1) * TILE + 1)))
                for _ in corners]
    cuts = np.stack([canvas[y:y + TILE, x:x + TILE] for y, x in corners])
    base = np.asarray(mask.resize((TILE, TILE), Image.NEAREST))[None]
    ids = patch_ids(np.concatenate([base, cuts[..., 3]]))
    kind_of = np.zeros(len(things) + 1, np.int64)
    colour_of = np.zeros(len(things) + 1, np.int64)
    for i, t in enumerate(things, 1):
        if t["kind"] != "text":
            kind_of[i] = KINDS.index(t["kind"]) + 1
            colour_of[i] = COLOUR_NAMES.index(t["colour"]) + 1
    kind, colour = kind_of[ids], colour_of[ids]
    char, order = np.zeros_like(kind), np.zeros_like(kind)
    for tile, (y0, x0) in enumerate(corners, 1):
        for x, y, c, i, last in letters:
            cx, cy = int(left + x * nw / w) - x0, int(top + y * nh / h) - y0
            if 0 <= cx < TILE and 0 <= cy < TILE:
                at = tile, cy // PATCH * SIDE + cx // PATCH
                char[at], order[at] = c + 1, 1 + 2 * i + last
    pixels = np.concatenate([pixels[:1], cuts[..., :3]])
    holds = np.zeros((len(pixels), 40 + 36), np.float32)
    for t in range(len(pixels)):
        seen = kind[t] > 0
        holds[t, (kind[t][seen] - 1) * 8 + colour[t][seen] - 1] = 1
        seen = char[t] > 0
        holds[t, 40 + char[t][seen] - 1] = 1
    return pixels, kind, colour, char, order, holds
