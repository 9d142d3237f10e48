"""Draw the moving pictures of the documentation from datasets of the zoo.

python docs/pictures.py                                # all of them, into docs/images
python docs/pictures.py --picture=cartpole-hades-r-d2  # one of the gallery
python docs/pictures.py --picture=hero                 # that of the README
python docs/pictures.py --picture=rendered             # that of pixels.md

An episode is the first one on report keys of the policy trained with seed 0, not one that was chosen. The returns come
from the table of gallery.md.
"""

import functools
import re
from pathlib import Path

import jax
import numpy as np
from absl import flags
from PIL import Image, ImageDraw

import hades
from hades.commands.command_line import start
from hades.environments.rendered import Rendered
from hades.environments.rollout import random_policy, record_episode
from hades.pictures.pairs import Pairs, pairs_of
from hades.pictures.palette import BLUE, GRID, INK, MUTED, ORANGE, PAPER, SLATE, TRACK
from hades.pictures.scenes.animation import episode_gif, gif
from hades.pictures.scenes.canvas import font
from hades.pictures.scenes.draw import draw
from hades.pictures.scenes.recording import Episode, record

PICTURES = flags.DEFINE_multi_string(
    "picture", [], "A dataset of gallery.md, hero or rendered; repeatable. All without it."
)

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
ROW = re.compile(r"^\| `([\w-]+)` \| (.*) \|$", re.MULTILINE)
NUMBER = re.compile(r"−?[\d,.]*\d")
HEADER = re.compile(r"^\| dataset \| (.*) \|$", re.MULTILINE)

SIDE, EPISODE_FRAMES, MOST_PAIRS = 256, 50, 4
LARGER, LABEL, MARGIN = 2, 24, 16
"""Pairs are drawn so much larger than they are shown, with letters and margins of these sizes in pixels."""

HERO = (
    ("cartpole-hades-r-d2", "CartPole", "trained on these", 3),
    ("breakout-gradient-r-mirrored-d16", "Breakout", "from 16 pairs", 1),
    ("ant-gradient-r-d32", "Ant", "from 32 pairs", 1),
)
"""Dataset, title, what is below the title, and steps a frame."""
HERO_FRAMES, HERO_MS, HERO_LAST_MS = 90, 70, 1200
DRAWN_TASKS = (
    ("CartPole-v1", 2, (6, 16)),
    ("Acrobot-v1", 2, (20, 120)),
    ("Pendulum-v1", 2, (10, 60)),
    ("MountainCar-v0", 2, (20, 60)),
    ("Asterix-MinAtar", 1, (20, 40)),
    ("Breakout-MinAtar", 1, (2, 4)),
    ("Freeway-MinAtar", 1, (20, 200)),
    ("SpaceInvaders-MinAtar", 1, (20, 40)),
    ("Seaquest-MinAtar", 1, (20, 40)),
    ("MountainCarContinuous-v0", 2, (20, 60)),
)
"""Environment, frames of a stack, and the steps that are shown."""
WIDTH, SCENE, GAP, TOP, FOOT, TILE = 800, 184, 20, 76, 44, 86  # pixels


def returns_of() -> dict[str, dict[str, str]]:
    """Dataset -> label -> return, from the table of gallery.md; cells without a number are left out."""
    text = (DOCS / "gallery.md").read_text("utf-8")
    (labels,) = HEADER.findall(text)
    found = {}
    for name, cells in ROW.findall(text):
        row = zip(labels.split(" | "), map(NUMBER.search, cells.split(" | ")), strict=True)
        found[name] = {label: number[0] for label, number in row if number}
    return found


@functools.cache
def episode(name: str) -> Episode:
    """An episode of a policy trained from a dataset of the zoo."""
    return record(hades.train_policy(hades.zoo.load(name), seed=0))


def still(pairs: Pairs, returns: dict[str, str]) -> Image.Image:
    """Some pairs with their targets, above bars of returns."""
    shown = min(len(pairs), MOST_PAIRS)
    side, bar = LARGER * SIDE, 2 * LABEL
    tile = (side - 3 * MARGIN) // 2
    row = tile + 2 * LABEL
    bars = 3 * LABEL + -(-shown // 2) * row
    picture = Image.new("RGB", (side, bars + bar * len(returns) + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    title = f"the {shown} pairs" if shown == len(pairs) else f"{shown} of {len(pairs)} pairs"
    pen.text((MARGIN, 1.3 * LABEL), title, fill=MUTED, font=font(LABEL), anchor="lm")
    for i in range(shown):
        x, y = MARGIN + i % 2 * (tile + MARGIN), 5 * LABEL // 2 + i // 2 * row
        picture.paste(_scene(pairs, i, tile), (x, y))
        label = pairs.label(i)
        letters = font((0.75 if len(label) > 18 else 0.9) * LABEL)
        pen.text((x + tile / 2, y + tile + LABEL), label, fill=INK, font=letters, anchor="mm")
    _bars(pen, returns, bars, bar)
    return picture.reduce(LARGER)


def _bars(pen: ImageDraw.ImageDraw, returns: dict[str, str], top: int, height: int) -> None:
    """A bar for each return, from 0, or from the lowest where one is negative."""
    values = [float(text.replace("−", "-").replace(",", "")) for text in returns.values()]
    low, high = min(0.0, *values), max(values)
    left, right = 15 * LABEL // 2, LARGER * SIDE - 6 * LABEL
    for i, ((label, text), value) in enumerate(zip(returns.items(), values, strict=True)):
        middle, colour = top + (i + 0.5) * height, BLUE if label == "this dataset" else SLATE
        length = (right - left) * (value - low) / (high - low)
        pen.text((MARGIN, middle), label, fill=INK, font=font(LABEL), anchor="lm")
        for end, fill in ((right, TRACK), (left + max(length, 3), colour)):
            pen.rectangle((left, middle - LABEL / 2, end, middle + LABEL / 2), fill=fill)
        pen.text((LARGER * SIDE - MARGIN, middle), text, fill=INK, font=font(LABEL), anchor="rm")


def _scene(pairs: Pairs, i: int, size: int) -> Image.Image:
    scene = draw(pairs.spec.name, pairs.raw[i], size)
    assert scene is not None, pairs.spec.name
    return scene


def hero() -> bytes:
    """Two pairs of CartPole beside the policies of three datasets at play."""
    sheet = _hero_sheet(pairs_of(hades.zoo.load(HERO[0][0])))
    frames = []
    for t in range(HERO_FRAMES):
        frame = sheet.copy()
        pen = ImageDraw.Draw(frame)
        for i, (name, _, _, stride) in enumerate(HERO):
            played = episode(name)
            step = min(t * stride, len(played))
            frame.paste(played.draw(step, SCENE), (_left(i), TOP))
            where = (_left(i), TOP + SCENE + FOOT / 2)
            pen.text(where, f"return {played.earned(step)}", fill=INK, font=font(20), anchor="lm")
        frames.append(frame)
    return gif(frames, [HERO_MS] * (HERO_FRAMES - 1) + [HERO_LAST_MS])


def _left(i: int) -> int:
    return WIDTH - MARGIN - (len(HERO) - i) * SCENE - (len(HERO) - 1 - i) * GAP


def _hero_sheet(pairs: Pairs) -> Image.Image:
    """Draw what does not move: the pairs, an arrow from them to the first policy, and the titles."""
    sheet = Image.new("RGB", (WIDTH, TOP + SCENE + FOOT), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((0, 0, WIDTH - 1, sheet.height - 1), outline=GRID, width=2)
    titles = [(MARGIN, "2 pairs", "the dataset"), *((_left(i), *row[1:3]) for i, row in enumerate(HERO))]
    for x, title, below in titles:
        pen.text((x, 26), title, fill=INK, font=font(24), anchor="lm")
        pen.text((x, 54), below, fill=MUTED, font=font(18), anchor="lm")
    for i in range(len(pairs)):
        y = TOP + i * (TILE + 26)
        sheet.paste(_scene(pairs, i, TILE), (MARGIN, y))
        pen.text((MARGIN, y + TILE + 12), f"push {pairs.label(i)}", fill=INK, font=font(18), anchor="lm")
    tail, tip, y = MARGIN + TILE + 10, _left(0) - 8, TOP + SCENE // 2
    pen.line((tail, y, tip - 12, y), fill=ORANGE, width=5)
    pen.polygon((tip, y, tip - 16, y - 10, tip - 16, y + 10), fill=ORANGE)
    pen.text(((tail + tip) / 2, y - 22), "5 ms", fill=MUTED, font=font(18), anchor="mm")
    return sheet


def rendered() -> Image.Image:
    """Draw two moments of a random episode of every environment that `Rendered` draws, as a policy sees them."""
    side, gap, columns = 2 * 84, 8, 4
    rows = -(-2 * len(DRAWN_TASKS) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + 30) + gap), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (name, frames, times) in enumerate(DRAWN_TASKS):
        env = Rendered(hades.Gymnax(name), size=84, frames=frames, stride=4)
        play = jax.jit(lambda key, env=env: record_episode(key, env, random_policy(env.spec))[2])
        seen = play(jax.random.key(1))
        for j, t in enumerate(times):
            x, y = gap + (2 * i + j) % columns * (side + gap), (2 * i + j) // columns * (side + 30)
            picture = draw(env.spec.name, np.asarray(seen[t]), side)
            assert picture is not None, name
            sheet.paste(picture, (x, y + 24))
            pen.text((x, y + 13), f"{name.split('-')[0]}, step {t}", fill=INK, font=font(10), anchor="lm")
    return sheet


def main() -> int:
    returns = returns_of()
    for name in PICTURES.value or ["hero", "rendered", *returns]:
        if name == "hero":
            (IMAGES / "hero.gif").write_bytes(hero())
        elif name == "rendered":
            rendered().quantize(dither=Image.Dither.NONE).save(IMAGES / "rendered.png", optimize=True)
        else:
            (IMAGES / "zoo" / f"{name}.gif").write_bytes(episode_gif(episode(name), SIDE, EPISODE_FRAMES))
            picture = still(pairs_of(hades.zoo.load(name)), returns[name])
            picture.quantize(dither=Image.Dither.NONE).save(IMAGES / "zoo" / f"{name}.png", optimize=True)
        print(name)
    return 0


if __name__ == "__main__":
    start(__name__, main)
