"""The table and the picture of supervised.md: networks trained on ten images, distilled or real.

python docs/digits_table.py          # prints the table
python docs/digits_table.py --write  # also writes it into the page, and draws the picture

Every row trains the same 64 networks by the recipe of the dataset in the zoo, with the same statistics, and measures
their accuracy on all test images. Real images come from the training images alone.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import hades
from hades.data import zoo
from hades.data.dataset import DistilledDataset
from hades.environments.labelled import Labelled
from hades.policy.statistics import summarize

DOCS = Path(__file__).parent
DISTILLED = {"distilled, by evolution": "digits-hades-r-d10", "distilled, by gradient": "digits-gradient-r-d10"}
SEED, NETWORKS, MANY_UPDATES = 1, 64, 500
DRAWS, NEAREST, NETWORKS_TO_CHOOSE = 100, 10, 8
TITLE = f"| ten images, one a class | as distilled for: 32 updates | the same recipe with {MANY_UPDATES} updates |"


def class_means(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The centre of each class, which is its k-means with one cluster: f32[10, H, W, 1]."""
    return np.stack([images[labels == label].mean(0) for label in np.unique(labels)])


def nearest_to_means(images: np.ndarray, labels: np.ndarray, count: int = 1) -> np.ndarray:
    """The `count` training images of each class that are nearest to its centre, the nearest first: [10, count, …]."""
    chosen = []
    for label, mean in enumerate(class_means(images, labels)):
        own = images[labels == label]
        chosen.append(own[np.square(own - mean).sum((1, 2, 3)).argsort()[:count]])
    return np.stack(chosen)


def random_images(images: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """A random training image of each class."""
    generator = np.random.default_rng(seed)
    return np.stack([images[generator.choice(np.flatnonzero(labels == label))] for label in np.unique(labels)])


def as_dataset(images: np.ndarray, like: DistilledDataset, labels: np.ndarray | None = None) -> DistilledDataset:
    """Images f32[N, H, W, 1] with labels (0 to 9 in turn), and the recipe and statistics of another dataset."""
    labels = np.arange(len(images)) if labels is None else labels
    return hades.make_dataset(images, labels, Labelled(), learner=like.learner, mean=like.obs_mean, std=like.obs_std)


def best_of_nearest(images: np.ndarray, labels: np.ndarray, like: DistilledDataset) -> np.ndarray:
    """The best on validation images of DRAWS random choices among the NEAREST images of each class."""
    near, generator = nearest_to_means(images, labels, NEAREST), np.random.default_rng(0)
    classes = np.arange(len(near))
    draws = [near[classes, generator.integers(0, NEAREST, len(near))] for _ in range(DRAWS)]

    def validated(draw: np.ndarray) -> float:
        policies = hades.train_policies(as_dataset(draw, like), NETWORKS_TO_CHOOSE)
        held_out = policies.replace(task=Labelled().for_selection)  # type: ignore[attr-defined]  # flax adds it
        return float(held_out.play(jax.random.key(0), 1).returns.mean())

    return max(draws, key=validated)


def rows() -> Iterator[tuple[str, list[DistilledDataset]]]:
    """Images that the networks are trained on; of random ones ten draws, whose networks count together."""
    distilled = {title: zoo.load(name) for title, name in DISTILLED.items()}
    yield from ((title, [dataset]) for title, dataset in distilled.items())
    like = distilled["distilled, by evolution"]
    images, labels = Labelled().examples.shown("train")
    sets = {
        "the means of the classes (k-means prototypes)": [class_means(images, labels)],
        f"real, best on validation images of {DRAWS} draws from the {NEAREST} nearest to each centre": [
            best_of_nearest(images, labels, like)
        ],
        "real, nearest to the centre of k-means": [nearest_to_means(images, labels)[:, 0]],
        "real, random: ten draws": [random_images(images, labels, seed) for seed in range(10)],
    }
    yield from ((title, [as_dataset(one, like) for one in chosen]) for title, chosen in sets.items())
    yield "for comparison: all 1,079 training images", [as_dataset(images, like, labels)]


def cell(datasets: list[DistilledDataset], **changes: Any) -> str:
    """Mean accuracy in percent with Student's interval over networks; over draws, where there are several."""
    measured = [
        np.array(hades.evaluate_dataset(d, NETWORKS, num_episodes=1, seed=SEED, **changes).per_init, float)
        for d in datasets
    ]
    units = measured[0] if len(measured) == 1 else np.array([each.mean() for each in measured])
    summary = summarize(units[:, None], np.full((len(units), 1), 359))
    return f"{summary.mean:.1f} ({summary.ci95[0]:.1f} to {summary.ci95[1]:.1f})"


def table() -> str:
    """Markdown."""
    lines = [TITLE, "|---" * 3 + "|"]
    for title, datasets in rows():
        lines.append(f"| {title} | {cell(datasets)} | {cell(datasets, num_updates=MANY_UPDATES)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def draw() -> bytes:
    """PNG: the distilled images above real ones, in the brightness of the scans."""
    from hades.pictures.figures import WIDE, figure, render
    from hades.pictures.palette import MUTED

    images, labels = Labelled().examples.shown("train")
    sets = {
        **{title: raw(zoo.load(name)) for title, name in DISTILLED.items()},
        "means of the classes": class_means(images, labels),
        "real, nearest to them": nearest_to_means(images, labels)[:, 0],
        "real, random": random_images(images, labels, 0),
    }
    left, side = 1.9, (WIDE - 1.9) / 10
    height = side * len(sets) + 0.55
    with figure(WIDE, height) as fig:
        for row, (title, pictures) in enumerate(sets.items()):
            below = 1 - (0.25 + (row + 1) * side) / height
            fig.text(0.0, below + 0.45 * side / height, title, fontsize=9, color=MUTED, va="center")
            for label, picture in enumerate(pictures):
                box = ((left + label * side) / WIDE, below, 0.94 * side / WIDE, 0.94 * side / height)
                axes = fig.add_axes(box)
                axes.imshow(picture[..., 0], cmap="RdBu", vmin=-1.0, vmax=1.0, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if row == 0:
                    axes.set_title(str(label), fontsize=9, color=MUTED, pad=3)
        note = "blue: ink, white: none, red: less than none, which no scan has; values beyond 1 are drawn as 1"
        fig.text(left / WIDE, 0.08 / height, note, fontsize=8, color=MUTED)
        return render(fig, "png")


def raw(dataset: DistilledDataset) -> np.ndarray:
    """Its images in the brightness of the data."""
    return dataset.observations * dataset.obs_std + dataset.obs_mean


if __name__ == "__main__":
    lines = table()
    print(lines)
    if "--write" in sys.argv[1:]:
        page = DOCS / "supervised.md"
        page.write_text(
            re.sub(rf"^{re.escape(TITLE)}\n(\|.*\n)*", f"{lines}\n", page.read_text("utf-8"), flags=re.M), "utf-8"
        )
        (DOCS / "images" / "digits.png").write_bytes(draw())
