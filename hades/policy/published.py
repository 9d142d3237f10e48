"""The datasets that the authors of "Behaviour Distillation" released, as dataset files of ours.

A released set is a pickle, `data_final.pkl`: the state of the search and its configuration. Others converted some to
`<name>.npz` (observations, actions and, where constants were used, obs_mean and obs_var) with an entry in `index.json`
beside it. Both become an entry and arrays, from which a dataset is made.

A HaDES-F set also needs its initial weights, which were not released. They are made again as the released runs made
them. `init_<environment>_hades_f.npz`, where it lies beside the file, holds those of seed 420, and nothing else passes
for them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hades import registry
from hades.data.arrays import check_statistics, read_npy, read_npz
from hades.data.dataset import DistilledDataset, describe_spec
from hades.data.files import read_json, user_path
from hades.data.header import check_ceilings, check_recipe
from hades.data.pickles import read_pickle
from hades.data.sources import is_address, load_dataset
from hades.environments.base import Environment
from hades.environments.brax import Brax
from hades.environments.gymnax import Gymnax
from hades.errors import DatasetError, HadesError, offer, printable
from hades.fitness.windowed_return import WindowedReturn
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import FixedInit, RandomInit
from hades.inner.losses import CrossEntropy, GaussianNLL
from hades.normalizers.base import Normalizer
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.none import NoNormalizer
from hades.normalizers.restarting import EPSILON, RestartingNormalizer
from hades.policies.base import activation
from hades.policies.mlp import MLP
from hades.policy.fingerprint import fingerprint, flat_params, unflat_params
from hades.policy.versions import library_versions
from hades.types import EnvSpec

INDEX = "index.json"
STORED_SEED = 420
"""The seed whose initial weights lie beside the datasets."""
MEANING = "published: population average of perturbed candidates"
"""The meaning of a published figure."""

Arrays = dict[str, np.ndarray]


def load_any_dataset(source: str | Path) -> DistilledDataset:
    """Read whatever `load_dataset` reads, or a released `.pkl` or `.npz` file, converted on the fly."""
    if not is_address(source) and Path(source).suffix in (".npz", ".pkl"):
        return import_published(source)
    return load_dataset(source)


def remeasured_text(dataset: DistilledDataset) -> str:
    """The return of a released dataset with today's libraries, from the index, in words."""
    today = dataset.returns["remeasured"]
    return (
        f"{today['mean']:.1f} (the index, re-measured: {today['inits']} policies, standard deviation "
        f"{today['sd_over_inits']:.1f}, episodes of {today['episode_length']:.0f} steps)"
    )


def published_datasets(folder: str | Path) -> dict[str, Path]:
    """The released files of a folder, by names that differ: those that its index lists, then the pickles below it.

    Raises:
        DatasetError: when there is none.
    """
    folder = user_path(folder)
    found = {}
    if (folder / INDEX).is_file():
        found = {name: path for name in _index(folder) if (path := folder / f"{name}.npz").is_file()}
    for path in sorted(folder.rglob("*.pkl")):
        found["_".join(path.relative_to(folder).with_suffix("").parts)] = path
    if not found:
        raise DatasetError(f"{folder} holds neither pickles nor files that an {INDEX} in it lists.")
    return found


def import_published(path: str | Path) -> DistilledDataset:
    """Convert a released file, a pickle or an npz.

    The observations keep their coordinates, the recipe its Adam (eps 1e-5), clip, rate and number of updates, the
    constants their deviation sqrt(variance + 1e-8) without a floor or a clip. `returns` holds the published figure and
    its meaning; `evaluation` is the published protocol.

    Raises:
        DatasetError: where the file, its entry or its initial weights are missing, damaged, or do not fit each other.
    """
    path = user_path(path)
    try:
        entry, arrays = _from_pickle(path) if path.suffix == ".pkl" else _from_npz(path)
        return _converted(path, entry, arrays)
    except HadesError as error:
        raise error if path.name in str(error) else DatasetError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        what = printable(f"{type(error).__name__}: {error}")
        raise DatasetError(f"{path} describes its run in another form than the released files do ({what}).") from error


def _converted(path: Path, entry: Mapping[str, Any], arrays: Arrays) -> DistilledDataset:
    """The dataset of an entry (as in the index) and the arrays of its file."""
    env = _environment(path, entry)
    spec = env.spec
    observations, actions = arrays["observations"], arrays["actions"]
    for name, size in (("obs_dim", spec.obs_size), ("action_dim", spec.action_space.size)):
        if entry[name] != size:
            raise DatasetError(f"{path.name}: its {name} is {entry[name]}, but {spec.name} has {size} today.")
    count = observations.shape[0] if observations.ndim else 0
    _check_size(path, "observations", observations, (count, spec.obs_size), spec.name)
    _check_size(path, "actions", actions, (count, spec.action_space.size), spec.name)
    learner = _learner(path, entry, count)
    normalizer, mean, std = _normalizer(path, entry, arrays, spec.obs_size, spec.name)
    check_ceilings(registry.describe(learner), "learner")  # before initial weights are made
    check_recipe(learner, spec, count)
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


def _from_pickle(path: Path) -> tuple[dict[str, Any], Arrays]:
    """The entry and the arrays of a released pickle.

    The search saw one vector: actions, where they were evolved, then states. MinAtar's labels are dealt out evenly, and
    states without a label were never used.
    """
    saved = read_pickle(path)
    if not isinstance(saved, dict) or not {"state", "config", "es_config", "fitness"} <= set(saved):
        held = ", ".join(map(str, saved)) if isinstance(saved, dict) else type(saved).__name__
        raise DatasetError(f"{path} holds no distilled dataset; it holds {printable(held)}.")
    config, search = saved["config"], saved["es_config"]
    is_discrete = "NET" in config
    if config.get("NET", "mlp").lower() != "mlp" or (config["DATA_NOISE"] and not is_discrete):
        raise DatasetError(f"{path}: its network is no MLP, or its pairs are noisy; such runs are not converted.")
    entry: dict[str, Any] = {
        "env": config["ENV_NAME"],
        "suite": "gymnax" if is_discrete else "brax",
        "variant": "HaDES-F" if config["OVERFIT"] else "HaDES-R",
        "discrete": is_discrete,
        "labels": "evolved" if search.get("learn_labels", not is_discrete) else "fixed",
        "policy": {
            **{"kind": "mlp", "hidden": [config["WIDTH"]] * 2, "sample_actions": not config["GREEDY_ACT"]},
            "activation": "relu" if config["ACTIVATION"] == "relu" else "tanh",
        },
        "bc": {
            **{"optimizer": "adam(eps=1e-5)", "full_batch": True, "lr": config["LR"]},
            "epochs": config["UPDATE_EPOCHS"],
            # MinAtar's clip and both annealings are written in the configurations, but the code has no effect of them.
            "grad_clip_global_norm": None if is_discrete else config["MAX_GRAD_NORM"],
        },
        "normalisation": "none",
        "num_steps": config["NUM_STEPS"],
        "eval_envs": config["NUM_ENVS"],
        "overfit_init_seed": config["OVERFIT_SEED"] if config["OVERFIT"] else None,
        "population_mean_fitness_published": float(np.mean(saved["fitness"], dtype=np.float64)),
    }
    arrays = {}
    if config["CONST_NORMALIZE_OBS"]:
        entry["normalisation"] = "constant"
        for name, short in (("obs_mean", "mean"), ("obs_var", "var")):
            inside = config.get(name.upper())
            beside = path.parent / f"{short}_{config['ENV_NAME']}.npy"
            arrays[name] = read_npy(beside) if inside is None else np.asarray(inside, np.float32).reshape(-1)
    elif config["NORMALIZE_OBS"] and not is_discrete:
        entry["normalisation"] = "online"
    spec = _environment(path, entry).spec
    entry |= {"obs_dim": spec.obs_size, "action_dim": spec.action_space.size}
    flat, count = np.asarray(saved["state"]["mean"], np.float32), search["dataset_size"]
    num_actions = count * spec.action_space.size if entry["labels"] == "evolved" else 0
    if type(count) is not int or count < 1 or flat.shape != (num_actions + count * spec.obs_size,):
        raise DatasetError(
            f"{path}: {flat.shape} numbers are not {printable(repr(count), 30)} pairs for {spec.name}, whose "
            f"observations have {spec.obs_size} entries and whose actions have {spec.action_space.size}."
        )
    states, actions = flat[num_actions:].reshape(count, -1), flat[:num_actions].reshape(count, -1)
    if entry["labels"] == "fixed":
        each = count // spec.action_space.size
        actions = np.repeat(np.eye(spec.action_space.size, dtype=np.float32), each, axis=0)
        states = states[: len(actions)]
    elif is_discrete:
        actions = np.asarray(jax.nn.softmax(actions))
    return entry, arrays | {"observations": states, "actions": actions}


def _from_npz(path: Path) -> tuple[Mapping[str, Any], Arrays]:
    entry = _entry(path)
    names = ["observations", "actions", *(("obs_mean", "obs_var") if entry["normalisation"] == "constant" else ())]
    return entry, _arrays(path, names)


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
        raise DatasetError(f"There is no {INDEX} in {folder}; a released npz is read together with its index.")
    index = read_json(path, "Copy it again.")
    if not isinstance(index, dict):
        raise DatasetError(f"{path} is not a JSON object.")
    return index


_FIELDS = (
    *("env", "suite", "variant", "obs_dim", "action_dim", "discrete", "policy", "bc", "normalisation"),
    *("num_steps", "eval_envs", "population_mean_fitness_published"),
)


def _entry(path: Path) -> Mapping[str, Any]:
    index = _index(path.parent)
    if path.stem not in index:
        raise DatasetError(f'{path.parent / INDEX} has no entry "{path.stem}". {offer(path.stem, index)}')
    entry = index[path.stem]
    if not isinstance(entry, dict):
        raise DatasetError(f'The entry "{path.stem}" of {path.parent / INDEX} is not a JSON object.')
    missing = [name for name in _FIELDS if name not in entry]
    if missing:
        raise DatasetError(f'The entry "{path.stem}" of {path.parent / INDEX} lacks {", ".join(missing)}.')
    return entry


def _arrays(path: Path, needed: Sequence[str]) -> Arrays:
    arrays = read_npz(path)
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
        targets="hard" if entry["discrete"] and entry.get("labels") != "evolved" else "evolved",
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
    if entry["normalisation"] == "none":
        return NoNormalizer(), np.zeros(size), np.ones(size)
    if entry["normalisation"] != "constant":
        raise DatasetError(
            f'{path.name}: its normalisation is "{entry["normalisation"]}"; known: online, constant, none.'
        )
    for constant in ("obs_mean", "obs_var"):
        _check_size(path, constant, arrays[constant], (size,), name)
    check_statistics(path, arrays["obs_mean"], arrays["obs_var"], zero=True)
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
    sizes = (spec.obs_size, spec.action_space.size, spec.is_discrete)
    stored = rebuilt_weights(seed, policy, *sizes)
    file = path.parent / f"init_{entry['env']}_hades_f.npz"
    if file.is_file():
        stored, source = _checked_weights(path, file, seed, policy, stored, spec)
    elif path.suffix == ".pkl":
        check_derivation(path)
        source = f"seed {seed}, made again by the key derivation of the released code"
    else:
        raise DatasetError(
            f"{path.name} is a HaDES-F dataset, which needs the initial weights it was evolved for, but there is no "
            f"{file.name} beside it."
        )
    weights = {name.replace("Dense_", "layers_"): array for name, array in stored.items()}
    expected_print = fingerprint(unflat_params(weights))
    return {"kind": "fixed", "fingerprint": expected_print, "embedded": True, "source": source}, weights


def _checked_weights(path: Path, file: Path, seed: int, policy: Any, made: Arrays, spec: EnvSpec) -> tuple[Arrays, str]:
    """The initial weights of a seed and where they are from, given a file that holds those of STORED_SEED."""
    sizes = (spec.obs_size, spec.action_space.size, spec.is_discrete)
    expected = made if seed == STORED_SEED else rebuilt_weights(STORED_SEED, policy, *sizes)
    held = _arrays(file, tuple(expected))
    for name, array in expected.items():
        _check_size(file, name, held[name], array.shape, f"{spec.name} with {policy}")
    if seed == STORED_SEED:
        return {name: held[name] for name in expected}, f"seed {STORED_SEED}, from {file.name}"
    worst = max(float(np.abs(held[name] - array).max()) for name, array in expected.items())
    if not worst <= 1e-4:
        raise DatasetError(
            f"{path.name} needs the initial weights of seed {seed}, which were not released, and they cannot be "
            f"made again here: the same way of making seed {STORED_SEED} misses {file.name} by {worst:.3g}."
        )
    return made, f"seed {seed}, made again; the same way of making seed {STORED_SEED} gives {file.name}"


_PROBE = (1.413708, 0.037819, -0.037819, 1.413708)
"""A kernel of seed 420, drawn where that gave the released weights."""


def check_derivation(path: Path) -> None:
    """Raise DatasetError where weights are not made from a seed as they were with the released code's libraries."""
    made = rebuilt_weights(STORED_SEED, MLP(width=2, depth=1), 2, 1, True)["Dense_0/kernel"].reshape(-1)
    if not np.allclose(made, _PROBE, atol=1e-4):
        raise DatasetError(
            f"{path.name} needs initial weights that were not released, and they cannot be made again here: this JAX "
            f"or flax draws {made.tolist()} where the released ones drew {list(_PROBE)}. Put an "
            "init_<environment>_hades_f.npz beside it."
        )
