"""The table and the picture of supervised.md: networks trained on ten images, distilled or real.

python docs/digits_table.py          # prints the table
python docs/digits_table.py --write  # also writes it into the page, and draws the picture

Every row trains the same 64 networks by the recipe of the dataset in the zoo, with the same statistics, and measures
their accuracy on all test images. Real images come from the training images alone.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import hades
from hades.data import zoo
from hades.data.dataset import DistilledDataset
from hades.environments.labelled import Labelled

DOCS = Path(__file__).parent
DATASETS = {
    "distilled by evolution": "digits-hades-r-d10",
    "distilled by gradient": "digits-gradient-r-d10",
}
SEED, NETWORKS, DRAWS = 1, 64, 10


def class_means(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of each class, which is the centre of its k-means with one cluster: f32[10, H, W, 1]."""
    return np.stack([images[labels == label].mean(0) for label in np.unique(labels)])


def nearest_to_means(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The training image of each class that is nearest to the mean of the class."""
    chosen = []
    for label, mean in enumerate(class_means(images, labels)):
        own = images[labels == label]
        chosen.append(own[np.square(own - mean).sum((1, 2, 3)).argmin()])
    return np.stack(chosen)


def random_images(images: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """A random training image of each class."""
    generator = np.random.default_rng(seed)
    return np.stack([images[generator.choice(np.flatnonzero(labels == label))] for label in np.unique(labels)])


def accuracy(dataset: DistilledDataset, images: np.ndarray | None = None) -> np.ndarray:
    """Percent of the test images that each network names, f32[64]; trained on the dataset or on images of our own."""
    if images is not None:
        statistics = {"mean": dataset.obs_mean, "std": dataset.obs_std}
        labels = np.arange(len(images))
        dataset = hades.make_dataset(images, labels, Labelled(), learner=dataset.learner, **statistics)
    return np.asarray(hades.evaluate_dataset(dataset, num_inits=NETWORKS, num_episodes=1, seed=SEED).per_init)
