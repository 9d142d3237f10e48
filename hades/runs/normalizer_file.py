"""Constant normaliser statistics from a file: those of a distilled dataset, an npz of one's own, or released ones.

In gin: `Evolution.normalizer = @normalizer_from_file()` and `normalizer_from_file.path = 'statistics.npz'`.
"""

import gin
import numpy as np

from hades.data.arrays import check_statistics, read_npy, read_npz
from hades.data.files import user_path
from hades.data.sources import is_address, load_dataset
from hades.errors import ConfigError, DatasetError
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.restarting import EPSILON


@gin.register(module="hades.Normalizer")
def normalizer_from_file(path: str, floor: float = 0.1, clip: float = 10.0) -> ConstantNormalizer:
    """A ConstantNormalizer with given statistics, one number per observation entry (flattened).

    Args:
        path: a source of `load_dataset`, an npz with `obs_mean` and one of `obs_std` and `obs_var`, or a released
            `mean_<environment>.npy` with its `var_<environment>.npy` beside it.
        floor, clip: as in ConstantNormalizer.

    Raises:
        ConfigError: when the file is missing, damaged, or does not hold them, and for statistics that nothing can be
            divided by.
    """
    try:
        mean, std = _read(path)
    except DatasetError as error:
        raise ConfigError(f"normalizer_from_file.path: {error}") from error
    return ConstantNormalizer(
        mean=tuple(map(float, np.ravel(mean))), std=tuple(map(float, np.ravel(std))), floor=floor, clip=clip
    )


def _read(source: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each entry."""
    if is_address(source) or (path := user_path(source)).suffix not in (".npz", ".npy"):
        dataset = load_dataset(source)
        return dataset.obs_mean, dataset.obs_std
    if path.suffix == ".npz":
        arrays = read_npz(path)
        if "obs_mean" not in arrays or not {"obs_std", "obs_var"} & set(arrays):
            raise DatasetError(
                f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; it must hold obs_mean, and obs_std or obs_var."
            )
        name = "obs_std" if "obs_std" in arrays else "obs_var"
        check_statistics(path, arrays["obs_mean"], arrays[name])
        return arrays["obs_mean"], arrays[name] if name == "obs_std" else np.sqrt(arrays[name])
    if not path.name.startswith(("mean_", "var_")):
        raise DatasetError(f"{path} is neither a mean_<environment>.npy nor a var_<environment>.npy.")
    name = path.name.partition("_")[2]
    mean, variance = read_npy(path.with_name(f"mean_{name}")), read_npy(path.with_name(f"var_{name}"))
    check_statistics(path, mean, variance, zero=True)
    return mean, np.sqrt(variance + EPSILON)  # as the released code divides
