"""Several datasets over one grid, each measured once: what a file already holds is not measured again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from hades import registry
from hades.data.dataset import DistilledDataset
from hades.data.files import read_json, user_path, write_bytes
from hades.data.sources import is_address
from hades.errors import ConfigError, HadesError
from hades.policy.published import load_any_dataset
from hades.studies.generalization.grid import Grid
from hades.studies.generalization.numbers import Generalization, Progress, generalize, protocol_of, restored
from hades.text import json_text

FILE = "generalization.json"


def load_datasets(places: Sequence[str | Path]) -> dict[str, DistilledDataset]:
    """Datasets by a name for tables: that of the file, or of its folder where the file is called dataset.

    A place is whatever `load_dataset` takes, or a released file.

    Raises:
        ConfigError: where two have one name, or are for versions of one environment that differ.
        DatasetError: for a file that cannot be read.
    """
    datasets: dict[str, DistilledDataset] = {}
    for place in places:
        name = _name(place)
        if name in datasets:
            raise ConfigError(
                f'{place} would be called "{name}", as another dataset here is: give each once, or copy one to a file '
                "with another name."
            )
        datasets[name] = load_any_dataset(place)
    check_together(datasets)
    return datasets


def _name(place: str | Path) -> str:
    path = Path(urlsplit(str(place)).path) if is_address(place) else user_path(place).absolute()
    if path.is_dir():
        return path.name
    return path.parent.name if path.stem == "dataset" else path.name.removesuffix(path.suffix)


def check_together(datasets: Mapping[str, DistilledDataset]) -> None:
    """Datasets for different environments get panels of their own; those in one panel must agree on theirs.

    Raises:
        ConfigError: where two environments have one name but other settings, naming the settings.
    """
    first: dict[str, tuple[str, DistilledDataset]] = {}
    for name, dataset in datasets.items():
        kind = dataset.environment.spec.name
        other_name, other = first.setdefault(kind, (name, dataset))
        one, two = (registry.describe(d.environment) for d in (other, dataset))
        differing = [key for key in {**one, **two} if one.get(key) != two.get(key)]
        if differing:
            values = "; ".join(f"{key} is {one.get(key)!r} and {two.get(key)!r}" for key in differing)
            raise ConfigError(
                f"{other_name} and {name} are both for {kind}, but its {values}: returns do not compare. Measure them "
                "in separate calls."
            )


def generalize_all(
    datasets: Mapping[str, DistilledDataset],
    grid: Grid,
    folder: Path,
    num_inits: int = 8,
    num_episodes: int = 4,
    seed: int = 1,
    *,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> list[Generalization]:
    """Measure each dataset, or take what `folder / FILE` holds of it; the file is written after each.

    Results of other protocols (another grid, seed, version, …) in the file are replaced.

    Raises:
        ConfigError, DatasetError: as `generalize`, for all datasets before any is measured where the grid is at fault.
        HadesError: where the file holds something else.
    """
    for dataset in datasets.values():
        grid.cells(dataset)
    known, results = _read(folder / FILE), []
    for name, dataset in datasets.items():
        before = known.get(name)
        if before is not None and before.protocol == protocol_of(dataset, grid, num_inits, num_episodes, seed):
            say(f"{name}: as measured before, from {folder / FILE}")
            results.append(before)
            continue
        if before is not None:
            say(f"{name}: measured anew, since {FILE} has it with another grid, seed, dataset or version")
        results.append(generalize(dataset, grid, num_inits, num_episodes, seed, name=name, progress=progress))
        write_bytes(folder / FILE, json_text({"results": [r.describe() for r in results]}, indent=1).encode())
    write_bytes(folder / FILE, json_text({"results": [r.describe() for r in results]}, indent=1).encode())
    return results


def _read(path: Path) -> dict[str, Generalization]:
    if not path.is_file():
        return {}
    content = read_json(path, "Move it away, or choose another work directory.")
    try:
        return {found["name"]: restored(found) for found in content["results"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HadesError(
            f"{path} is no result of a generalisation grid ({type(error).__name__}: {error}): move it away, or choose "
            "another work directory."
        ) from error
