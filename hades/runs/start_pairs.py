"""Pairs to start a search from, out of a dataset file.

In gin: `RidgeCloning.start_pairs = @pairs_from_dataset()` and `pairs_from_dataset.path = 'dataset.safetensors'`.
"""

from pathlib import Path

import gin

from hades.data import zoo
from hades.data.dataset import load_dataset
from hades.data.files import user_path
from hades.errors import ConfigError, DatasetError
from hades.inner.pairs import StartPairs
from hades.runs.stages import pairs_of


@gin.register(module="hades.StartPairs")
def pairs_from_dataset(path: str) -> StartPairs:
    """The pairs of a dataset, in raw coordinates.

    Args:
        path: a dataset file, or the name of a dataset of the zoo.

    Raises:
        ConfigError: when there is no such file or name, or the file is damaged.
    """
    try:
        return pairs_of(load_dataset(file_of(path)), path)
    except DatasetError as error:
        raise ConfigError(f"pairs_from_dataset.path: {error}") from error


def file_of(path: str) -> Path:
    """The file of a dataset of the zoo by its name, or of any by its path."""
    return zoo.path(path) if path in zoo.names() else user_path(path)
