"""The measurements of `hades-inspect`, stored beside the dataset as `reading.json`."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hades.data.dataset import DistilledDataset
from hades.data.files import read_json, user_path, write_bytes
from hades.errors import ConfigError, DatasetError, offer
from hades.policy.trained_policy import freeze_statistics
from hades.studies.inspection.influence import Influence, measure_influence
from hades.studies.inspection.nearest import Nearest, measure_nearest
from hades.text import json_text
from hades.types import EnvSpec

INSPECTION = "reading.json"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The numbers behind the report's sections on a dataset.

    Attributes:
        dataset: fingerprint of what was measured, from `dataset_fingerprint`.
        seed: of policies and episodes.
        nearest, influence: see there.
        features: the two features that were asked for; empty: the report chooses.
        frozen: whether statistics that restart at every evaluation were made constant first.
    """

    dataset: str
    seed: int
    nearest: Nearest
    influence: Influence
    features: tuple[str, ...] = ()
    frozen: bool = False

    def save(self, workdir: str | Path) -> Path:
        """Write the file; equal inspections write equal bytes."""
        content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return write_bytes(user_path(workdir) / INSPECTION, json_text(content, indent=1).encode())


def inspect_dataset(
    dataset: DistilledDataset,
    num_inits: int = 8,
    num_episodes: int = 4,
    seed: int = 0,
    features: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Inspection:
    """Measure everything.

    Args:
        dataset: any.
        num_inits: policies to train, for each of the two measurements.
        num_episodes: whole episodes of each.
        seed: of policies and episodes.
        features: names of two features to show the policy's actions over; empty: the report chooses.
        say: told what happens next.

    Raises:
        ConfigError: for features that do not exist or are not two different ones, and for several tasks at once.
    """
    tasks = [member.spec.name for member in dataset.environment.members]
    if len(tasks) > 1:
        raise ConfigError(
            f"This dataset trains one policy for {' and '.join(tasks)}, whose states have no common unit: inspect the "
            "datasets that it was merged from."
        )
    chosen = check_features(features, dataset.environment.spec)
    measured = dataset
    if dataset.normalizer.has_memory:
        say("constant statistics, in the place of those that restart at every evaluation")
        measured = freeze_statistics(dataset, seed=seed)
    say(f"states that {num_inits} policies and random actions visit in {num_episodes} episodes each")
    nearest = measure_nearest(measured, num_inits, num_episodes, seed)
    influence = measure_influence(measured, num_inits, num_episodes, seed, say)
    return Inspection(
        dataset=dataset_fingerprint(dataset),
        seed=seed,
        nearest=nearest,
        influence=influence,
        features=chosen,
        frozen=measured is not dataset,
    )


def read_inspection(workdir: str | Path) -> Inspection | None:
    """The inspection in a folder; None where there is none.

    Raises:
        HadesError: where the file is damaged or of another version.
    """
    path = user_path(workdir) / INSPECTION
    if not path.is_file():
        return None
    try:
        values = with_tuples(read_json(path, "Run hades-inspect again."))
        if values.pop("format_version") != FORMAT_VERSION:
            raise ValueError("another format version")
        parts = {
            "nearest": Nearest.from_json(values["nearest"]),
            "influence": Influence.from_json(values["influence"]),
        }
        return Inspection(**{**values, **parts})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): run hades-inspect again.") from error


def with_tuples(value: Any) -> Any:
    """A JSON value with tuples in the place of lists."""
    if isinstance(value, dict):
        return {name: with_tuples(part) for name, part in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def check_features(features: Sequence[str], spec: EnvSpec) -> tuple[str, ...]:
    """Two names of different features of a vector observation, or none.

    Raises:
        ConfigError: for anything else, with what there is.
    """
    if not features:
        return ()
    if spec.is_image:
        raise ConfigError(
            f"--features names {', '.join(features)}, but observations of {spec.name} are images of shape "
            f"{spec.obs_shape}, which have no two features to span a plane: leave --features out."
        )
    known = feature_names(spec)
    for name in features:
        if name not in known:
            raise ConfigError(f'{spec.name} has no feature "{name}" (--features). {offer(name, known)}')
    if len(features) != 2:
        raise ConfigError(f"--features names {len(features)} of them; it takes two, such as {known[0]},{known[-1]}.")
    if features[0] == features[1]:
        raise ConfigError(f'--features names "{features[0]}" twice; a plane needs two of: {", ".join(known)}.')
    return tuple(features)


def feature_names(spec: EnvSpec) -> tuple[str, ...]:
    """A name for each entry of a vector observation; "obs 0", "obs 1", … where the environment has none."""
    names = spec.observation_names
    return names if len(names) == spec.obs_size else tuple(f"obs {i}" for i in range(spec.obs_size))


def dataset_fingerprint(dataset: DistilledDataset) -> str:
    """Digest of a dataset's numbers, to check which dataset an inspection describes."""
    content = hashlib.sha256()
    for array in (dataset.observations, dataset.targets, dataset.obs_mean, dataset.obs_std):
        content.update(np.ascontiguousarray(array, np.float32).tobytes())
    return content.hexdigest()[:16]
