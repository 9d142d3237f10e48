"""Every random key: `fold_in` of the root key by purpose, generation, init and episode.

Search, selection and report are three streams that never meet. Nothing here depends on chunk sizes, logging,
checkpoints or the number of devices.
"""

import enum

import jax
from jax import Array

from hades.fields import Seed, checked
from hades.types import Key


class Stream(enum.IntEnum):
    """Purpose of a stream of keys."""

    START = 0
    SEARCH = 1
    SELECTION = 2
    REPORT = 3


class Purpose(enum.IntEnum):
    """Purpose of a key inside a generation or an evaluation."""

    ASK = 0
    TELL = 1
    INITS = 2
    LEARN = 3
    EPISODES = 4
    GENOME = 5
    NORMALIZER = 6
    CLONE = 7


def root_key(seed: int) -> Key:
    """Key that all others of a run or an evaluation are made from.

    Raises:
        ConfigError: for a seed outside [0, 2³²), whose key is that of another seed.
    """
    return jax.random.key(checked(seed, Seed, "seed"))


def stream_key(root: Key, stream: Stream, index: int | Array = 0) -> Key:
    """Key of a stream; `index` is the generation for SEARCH and 0 elsewhere."""
    return jax.random.fold_in(jax.random.fold_in(root, int(stream)), index)


def purpose_key(key: Key, purpose: Purpose) -> Key:
    """Key of one purpose under a stream's key."""
    return jax.random.fold_in(key, int(purpose))


def indexed_keys(key: Key, count: int) -> Key:
    """`fold_in(key, i)` for i < count: keys[count]."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jax.numpy.arange(count))
