"""Without a device there is one sentence, whoever comes upon it first."""

import os
import subprocess
import sys

import pytest

from hades.devices import check_devices, explain
from hades.errors import ConfigError
from tests.support import ROOT


@pytest.mark.parametrize(
    "error", [RuntimeError("Unable to initialize backend 'tpu': no (set JAX_PLATFORMS='' …)"), AssertionError()]
)
def test_a_backend_that_does_not_start_is_explained(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def devices() -> None:
        raise error

    monkeypatch.setattr("jax.devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    with pytest.raises(
        ConfigError, match=r"no device with JAX_PLATFORMS=tpu.*JAX_PLATFORMS=cpu runs without it"
    ) as caught:
        check_devices()
    assert "set JAX_PLATFORMS=''" not in str(caught.value)
    with pytest.raises(ConfigError, match="no device"):
        explain(error)


def test_other_errors_are_not_explained_by_devices() -> None:
    explain(RuntimeError("of something else"))
    explain(ValueError())


LIBRARY = """
import hades
from hades.environments.point import Point
from tests.runs.tiny import tiny_experiment
for call in (
    lambda: hades.run(tiny_experiment(), "/nowhere"),
    lambda: hades.load_experiment("cartpole_hades_r"),
    lambda: hades.train_policy(hades.zoo.load("cartpole-hades-r-d2")),
    lambda: hades.train_policy(None),
    lambda: hades.evaluate_dataset(None),
):
    try:
        call()
    except hades.errors.ConfigError as error:
        print(error)
"""


@pytest.mark.system
def test_a_missing_backend_is_one_sentence_in_the_library_and_in_programs() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "absent"}
    sentence = "JAX finds no device with JAX_PLATFORMS=absent: Unable to initialize backend 'absent'"
    done = subprocess.run([sys.executable, "-c", LIBRARY], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count(sentence) == 5, done.stderr
    words = [str(ROOT / "launch" / "evaluate.py"), "--dataset=cartpole-hades-r-d2"]
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert (done.returncode, sentence in done.stderr, "Traceback" in done.stderr) == (1, True, False)
