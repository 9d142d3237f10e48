"""Constant normaliser statistics from a file: those of a distilled dataset, or an npz of one's own.

In gin: `Evolution.normalizer = @normalizer_from_file()` and `normalizer_from_file.path = 'statistics.npz'`.
"""

from pathlib import Path

import gin
import numpy as np

from hades.data.dataset import load_dataset
from hades.data.files import user_path
from hades.errors import ConfigError
from hades.normalizers.constant import ConstantNormalizer


@gin.register(module="hades.Normalizer")
def normalizer_from_file(path: str, floor: float = 0.1, clip: float = 10.0) -> ConstantNormalizer:
    """A ConstantNormalizer with given statistics, one number per observation entry (flattened).

    Args:
        path: a dataset file, or an npz with `obs_mean` and one of `obs_std` and `obs_var`.
        floor, clip: as in ConstantNormalizer.

    Raises:
        ConfigError: when the file is missing or does not hold them.
        DatasetError: for a damaged dataset file.
    """
    file = user_path(path)
    if not file.is_file():
        raise ConfigError(f"normalizer_from_file.path: there is no file at {path}.")
    if file.suffix == ".npz":
        mean, std = _read_npz(file)
    else:
        dataset = load_dataset(file)
        mean, std = dataset.obs_mean, dataset.obs_std
    return ConstantNormalizer(
        mean=tuple(map(float, np.ravel(mean))), std=tuple(map(float, np.ravel(std))), floor=floor, clip=clip
    )


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as file:
        if "obs_mean" not in file or not {"obs_std", "obs_var"} & set(file):
            raise ConfigError(
                f"normalizer_from_file.path: {path} holds {', '.join(sorted(file)) or 'nothing'}; it must hold "
                "obs_mean, and obs_std or obs_var."
            )
        std = file["obs_std"] if "obs_std" in file else np.sqrt(file["obs_var"])
        return file["obs_mean"], std
