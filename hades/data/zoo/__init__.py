"""Finished datasets that ship with the package: a file of a few kilobytes and a card each.

import hades

dataset = hades.zoo.load("cartpole-hades-r-d2")
policy = hades.train_policy(dataset)

A name says task, method and number of pairs. A card says what the dataset earned, over which seeds, what other networks
keep of that, the versions, and the command that made it. Every figure on a card is measured again by a (slow) test.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hades.errors import DatasetError, offer

if TYPE_CHECKING:
    from hades.data.dataset import DistilledDataset

FOLDER = Path(__file__).parent
"""Folder of the files and cards."""


def names() -> tuple[str, ...]:
    """Names of the datasets, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))


def path(name: str) -> Path:
    """Path of a dataset's file.

    Raises:
        DatasetError: for an unknown name, with the known ones and the nearest match.
    """
    if name not in names():
        raise DatasetError(f'The zoo has no dataset "{name}". {offer(name, names())}')
    return FOLDER / f"{name}.safetensors"


def load(name: str) -> "DistilledDataset":
    """A dataset of the zoo.

    Raises:
        DatasetError: for an unknown name, with the known ones and the nearest match.
    """
    from hades.data.arrays import read_content  # names and cards can be read without JAX
    from hades.data.dataset import parse_dataset

    file = path(name)
    return parse_dataset(read_content(file), str(file))


def card(name: str) -> dict[str, Any]:
    """Card of a dataset: its origin and its measurements.

    Raises:
        DatasetError: for an unknown name, with the known ones and the nearest match.
    """
    return dict(json.loads(path(name).with_suffix(".json").read_text()))
