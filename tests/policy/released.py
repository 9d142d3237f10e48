"""A tiny pickle in the form of the released ones, made without the libraries that wrote them."""

import pickle
import sys
import types
from typing import Any

import numpy as np

OBS, ACTIONS, PAIRS = 4, 2, 5
CONFIG: dict[str, Any] = {
    **{"NET": "mlp", "LR": 0.03, "NUM_ENVS": 3, "NUM_STEPS": 600, "UPDATE_EPOCHS": 4, "MAX_GRAD_NORM": 0.5},
    **{"ACTIVATION": "relu", "WIDTH": 8, "FFWD_LAYERS": 2, "ENV_NAME": "CartPole-v1", "ANNEAL_LR": True},
    **{"GREEDY_ACT": False, "DATA_NOISE": 0.0, "ENV_PARAMS": {}, "CONST_NORMALIZE_OBS": True, "NORMALIZE_OBS": False},
    **{"OVERFIT": False, "OVERFIT_SEED": 0, "SEED": 0},
    **{"OBS_MEAN": np.arange(OBS, dtype=np.float32), "OBS_VAR": np.array([1.0, 0.25, 4.0, 0.0], np.float32)},
}


class _JaxArray:
    """Pickled as `jax.Array` is."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __reduce__(self) -> Any:
        make, arguments, state = self.array.__reduce__()
        return sys.modules["jax._src.array"]._reconstruct_array, (make, arguments, state, {"weak_type": False})


def released_bytes(*, learn_labels: bool = False, **config: Any) -> bytes:
    """The content of a `data_final.pkl` for CartPole: MinAtar's form, or Brax's where `NET` is None."""
    settings = {name: value for name, value in (CONFIG | config).items() if value is not None or name != "NET"}
    arrays = {n: _JaxArray(v) if isinstance(v, np.ndarray) else v for n, v in settings.items()}
    size = PAIRS * (OBS + ACTIONS * (learn_labels or "NET" not in settings))
    module = types.ModuleType("evosax.strategies.snes")
    state = type("EvoState", (), {"__module__": module.__name__, "__qualname__": "EvoState"})
    module.EvoState = state  # type: ignore[attr-defined]
    saved = state()
    saved.mean, saved.gen_counter = (
        _JaxArray(np.arange(size, dtype=np.float32) / 10),
        _JaxArray(np.array(7, np.int32)),
    )
    content = {
        "state": saved,
        "fitness": _JaxArray(np.array([40.0, 45.0], np.float32)),
        "config": arrays,
        "es_config": {"dataset_size": PAIRS, "learn_labels": learn_labels, "strategy": "SNES"},
    }
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        return pickle.dumps(content, protocol=4)
    finally:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before
