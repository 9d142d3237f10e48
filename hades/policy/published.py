"""The datasets that the authors of "Behaviour Distillation" released, as dataset files of ours.

A released set is `<name>.npz` (observations, actions and, where constants were used, obs_mean and obs_var) with its
entry in `index.json` beside it. A HaDES-F set also needs its initial weights: `init_<environment>_hades_f.npz` holds
those of seed 420; those of another seed are made again as the released runs made them, and only where the same way
of making them gives the 420 ones.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hades import registry
from hades.data import zoo
from hades.data.dataset import DistilledDataset, describe_spec, load_dataset
from hades.data.files import user_path
from hades.environments.base import Environment
from hades.environments.brax import Brax
from hades.environments.gymnax import Gymnax
from hades.errors import DatasetError, offer
from hades.fitness.windowed_return import WindowedReturn
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import FixedInit, RandomInit
from hades.inner.losses import CrossEntropy, GaussianNLL
from hades.normalizers.base import Normalizer
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.restarting import EPSILON, RestartingNormalizer
from hades.policies.base import activation
from hades.policies.mlp import MLP
from hades.policy.fingerprint import fingerprint, flat_params, unflat_params
from hades.policy.versions import library_versions

INDEX = "index.json"
STORED_SEED = 420
"""The seed whose initial weights lie beside the datasets."""
MEANING = "published: population average of perturbed candidates"
"""The meaning of a published figure."""

Arrays = dict[str, np.ndarray]


def load_any_dataset(path: str | Path) -> DistilledDataset:
    """A dataset file of ours, a name of the zoo, or a released `.npz`, converted on the fly."""
    path = user_path(path)
    if path.suffix == ".npz":
        return import_published(path)
    return zoo.load(str(path)) if str(path) in zoo.names() else load_dataset(path)


def remeasured_text(dataset: DistilledDataset) -> str:
    """The return of a released dataset with today's libraries, from the index, in words."""
    today = dataset.returns["remeasured"]
    return (
        f"{today['mean']:.1f} (the index, re-measured: {today['inits']} policies, standard deviation "
        f"{today['sd_over_inits']:.1f}, episodes of {today['episode_length']:.0f} steps)"
    )


def published_datasets(folder: str | Path) -> tuple[Path, ...]:
    """The released files of a folder that its index lists, in the order of the index.

    Raises:
        DatasetError: when there is no index, or none of its files.
    """
    folder = user_path(folder)
    found = tuple(path for name in _index(folder) if (path := folder / f"{name}.npz").is_file())
    if not found:
        raise DatasetError(f"None of the files that {folder / INDEX} lists lies beside it.")
    return found


def import_published(path: str | Path) -> DistilledDataset:
    """Convert a released file.

    The observations keep their coordinates, the recipe its Adam (eps 1e-5), clip, rate and number of updates, the
    constants their deviation sqrt(variance + 1e-8) without a floor or a clip. `returns` holds the published figure and
    its meaning; `evaluation` is the published protocol.

    Raises:
        DatasetError: where the file, its entry or its initial weights are missing or do not fit each other.
    """
    path = user_path(path)
    entry = _entry(path)
    arrays = _arrays(path, ("observations", "actions"))
    env = _environment(path, entry)
    spec = env.spec
    observations, actions = arrays["observations"], arrays["actions"]
    for name, size in (("obs_dim", spec.obs_size), ("action_dim", spec.action_space.size)):
        if entry[name] != size:
            raise DatasetError(f"{path.name}: its {name} is {entry[name]}, but {spec.name} has {size} today.")
    _check_size(path, "observations", observations, (len(observations), spec.obs_size), spec.name)
    _check_size(path, "actions", actions, (len(observations), spec.action_space.size), spec.name)
    learner = _learner(path, entry, len(observations))
    normalizer, mean, std = _normalizer(path, entry, arrays, spec.obs_size, spec.name)
    init, weights = _initial_weights(path, entry, learner.policy, env)
    today = entry.get("return_with_todays_physics")
    remeasured = {"remeasured": dict(today)} if today else {}
    metadata = {
        "environment": registry.describe(env),
        "spec": describe_spec(spec),
        "learner": registry.describe(learner),
        "normalizer": registry.describe(normalizer),
        "init": init,
        "returns": {"mean": float(entry["population_mean_fitness_published"]), "protocol": MEANING} | remeasured,
        "evaluation": registry.describe(WindowedReturn(num_envs=entry["eval_envs"], num_steps=entry["num_steps"])),
        "training": {"method": entry["variant"], "source": f"{path.name}, released with arXiv 2406.15042"},
        "versions": library_versions(env.versions) | {"search": "the released code of arXiv 2406.15042"},
    }
    return DistilledDataset(
        observations=observations.reshape(-1, *spec.obs_shape),
        targets=actions,
        obs_mean=mean.reshape(spec.obs_shape),
        obs_std=std.reshape(spec.obs_shape),
        metadata=metadata,
        init=weights,
    )


def rebuilt_weights(seed: int, policy: MLP, obs_size: int, action_size: int, is_discrete: bool) -> Arrays:
    """The initial weights f32 of a released HaDES-F run: flax's own layers from `seed`, by JAX's old key derivation."""
    network = _ReleasedNetwork(
        sizes=(policy.width,) * policy.depth + (action_size,),
        activation=policy.activation,
        scales=(policy.hidden_scale, policy.output_scale),
        has_log_std=not is_discrete,
    )
    with jax.threefry_partitionable(False):
        params = network.init(jax.random.key(seed, impl="threefry2x32"), jnp.zeros(obs_size))["params"]
    return flat_params(params)


class _ReleasedNetwork(nn.Module):
    """Weights are drawn by the names of the layers, so these are flax's own: Dense_0, Dense_1, …, log_std."""

    sizes: tuple[int, ...]
    activation: str
    scales: tuple[float, float]
    has_log_std: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, size in enumerate(self.sizes):
            last = i == len(self.sizes) - 1
            x = nn.Dense(size, kernel_init=nn.initializers.orthogonal(self.scales[last]))(x)
            x = x if last else activation(self.activation)(x)
        if self.has_log_std:
            self.param("log_std", nn.initializers.zeros, self.sizes[-1:])
        return x


def _index(folder: Path) -> Mapping[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise DatasetError(f"There is no {INDEX} in {folder}; a released file is read together with its index.")
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path} is not a JSON object: {error}.") from error


_FIELDS = (
    *("env", "suite", "variant", "obs_dim", "action_dim", "discrete", "policy", "bc", "normalisation"),
    *("num_steps", "eval_envs", "population_mean_fitness_published"),
)


def _entry(path: Path) -> Mapping[str, Any]:
    index = _index(path.parent)
    if path.stem not in index:
        raise DatasetError(f'{path.parent / INDEX} has no entry "{path.stem}". {offer(path.stem, index)}')
    entry = index[path.stem]
    missing = [name for name in _FIELDS if name not in entry]
    if missing:
        raise DatasetError(f'The entry "{path.stem}" of {path.parent / INDEX} lacks {", ".join(missing)}.')
    return entry


def _arrays(path: Path, needed: tuple[str, ...]) -> Arrays:
    if not path.is_file():
        raise DatasetError(f"There is no released file at {path}.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float32) for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path} is not a complete npz file of plain arrays: {error}.") from error
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(arrays)) or 'nothing'}.")
    return arrays


def _environment(path: Path, entry: Mapping[str, Any]) -> Environment:
    if entry["suite"] == "brax":
        return Brax(entry["env"], backend=entry.get("brax_backend") or "positional")
    if entry["suite"] in ("minatar", "gymnax"):
        return Gymnax(entry["env"])
    raise DatasetError(f'{path.name}: its suite is "{entry["suite"]}"; known: brax, minatar, gymnax.')


def _learner(path: Path, entry: Mapping[str, Any], num_pairs: int) -> BehaviourCloning:
    recipe, policy, seed = entry["bc"], entry["policy"], entry.get("overfit_init_seed")
    if recipe["optimizer"] != "adam(eps=1e-5)" or not recipe["full_batch"] or recipe.get("anneal_effective"):
        raise DatasetError(f"{path.name}: its recipe {recipe} is no full batch of adam(eps=1e-5) at a constant rate.")
    if policy["kind"] != "mlp" or len(set(policy["hidden"])) != 1:
        raise DatasetError(f"{path.name}: its policy {policy} is not an MLP of equally wide layers.")
    return BehaviourCloning(
        policy=MLP(
            width=policy["hidden"][0],
            depth=len(policy["hidden"]),
            activation=policy["activation"],
            acting="sample" if policy["sample_actions"] else "greedy",
        ),
        init_scheme=RandomInit(num_inits=2) if seed is None else FixedInit(seed=seed),
        loss=CrossEntropy(mean_over_entries=True) if entry["discrete"] else GaussianNLL(),
        num_pairs=num_pairs,
        targets="hard" if entry["discrete"] else "evolved",
        optimizer_options=(("eps", 1e-5),),
        learning_rate=recipe["lr"],
        max_grad_norm=recipe["grad_clip_global_norm"] or 0.0,
        num_updates=recipe["epochs"],
    )


def _normalizer(
    path: Path, entry: Mapping[str, Any], arrays: Arrays, size: int, name: str
) -> tuple[Normalizer, np.ndarray, np.ndarray]:
    """The normaliser of an entry, with mean and standard deviation f32[O]."""
    if entry["normalisation"] == "online":
        return RestartingNormalizer(), np.zeros(size), np.ones(size)
    if entry["normalisation"] != "constant":
        raise DatasetError(f'{path.name}: its normalisation is "{entry["normalisation"]}"; known: online, constant.')
    constants = _arrays(path, ("obs_mean", "obs_var"))
    for constant in ("obs_mean", "obs_var"):
        _check_size(path, constant, constants[constant], (size,), name)
    # The floor is the least value that the square root can take, so that it changes nothing.
    return ConstantNormalizer(floor=EPSILON**0.5, clip=0.0), arrays["obs_mean"], np.sqrt(arrays["obs_var"] + EPSILON)


def _check_size(path: Path, what: str, array: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape:
        raise DatasetError(f"{path.name}: {what} has shape {array.shape}, but {name} needs {shape}.")


def _initial_weights(
    path: Path, entry: Mapping[str, Any], policy: Any, env: Environment
) -> tuple[dict[str, Any], Arrays]:
    """The header's `init` and the weights to embed; none for HaDES-R."""
    seed, spec = entry.get("overfit_init_seed"), env.spec
    if seed is None:
        return {"kind": "random"}, {}
    file = path.parent / f"init_{entry['env']}_hades_f.npz"
    if not file.is_file():
        raise DatasetError(
            f"{path.name} is a HaDES-F dataset, which needs the initial weights it was evolved for, but there is no "
            f"{file.name} beside it."
        )
    sizes = (spec.obs_size, spec.action_space.size, spec.is_discrete)
    expected = rebuilt_weights(STORED_SEED, policy, *sizes)
    stored = _arrays(file, tuple(expected))
    for name, array in expected.items():
        _check_size(file, name, stored[name], array.shape, f"{spec.name} with {policy}")
    source = f"seed {STORED_SEED}, from {file.name}"
    if seed != STORED_SEED:
        worst = max(float(np.abs(stored[name] - array).max()) for name, array in expected.items())
        if worst > 1e-4:
            raise DatasetError(
                f"{path.name} needs the initial weights of seed {seed}, which were not released, and they cannot be "
                f"made again here: the same way of making seed {STORED_SEED} misses {file.name} by {worst:.3g}."
            )
        stored = rebuilt_weights(seed, policy, *sizes)
        source = f"seed {seed}, made again; the same way of making seed {STORED_SEED} gives {file.name}"
    weights = {name.replace("Dense_", "layers_"): stored[name] for name in expected}
    expected_print = fingerprint(unflat_params(weights))
    return {"kind": "fixed", "fingerprint": expected_print, "embedded": True, "source": source}, weights
