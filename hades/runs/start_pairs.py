"""Pairs to start a search from, out of a dataset file.

In gin: `RidgeCloning.start_pairs = @pairs_from_dataset()` and `pairs_from_dataset.path = 'dataset.safetensors'`.
"""

import dataclasses

import gin

from hades.data.sources import load_dataset
from hades.errors import ConfigError, DatasetError
from hades.inner.pairs import StartPairs
from hades.runs.stages import pairs_of, stages_of


@gin.register(module="hades.StartPairs")
def pairs_from_dataset(path: str, codes: bool = False) -> StartPairs:
    """The pairs of a dataset, in raw coordinates. The searches that made it count as stages of the run.

    Args:
        path: a source of `load_dataset`: a dataset file, a work directory, a name of the zoo or an address.
        codes: take what its observations were made from, such as the states that pictures show.

    Raises:
        ConfigError: when there is no such dataset, or its file is damaged.
    """
    try:
        dataset = load_dataset(path)
        return dataclasses.replace(pairs_of(dataset, path, coded=codes), stages=stages_of(dataset))
    except DatasetError as error:
        raise ConfigError(f"pairs_from_dataset.path: {error}") from error
