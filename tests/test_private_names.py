"""What libraries do not promise stands in one file each, and is still as it was read there."""

import mmap
import re
import tomllib
from pathlib import Path
from types import ModuleType

import gin
import jaxlib
import pytest
import tensorstore
from jax._src import distributed, xla_bridge
from orbax.checkpoint._src.path import atomicity_types
from packaging.requirements import Requirement

from hades.errors import ConfigError
from hades.registry import gin_internals
from hades.runs import checkpoint, jax_internals
from hades.runs.gin_config import load_experiment
from tests.support import ROOT

OWNERS = {
    "gin-config": "hades/registry/gin_internals.py",
    "jax": "hades/runs/jax_internals.py",
    "orbax-checkpoint": "hades/runs/checkpoint.py",
}
PRIVATE = re.compile(r"\b(?:gin|jax|jaxlib|orbax|ocp|tensorstore)(?:\.\w+)*\._\w+|\bjaxlib\b.*import|import jaxlib")


def mend(library: str) -> str:
    return f"{library} has changed: read the installed version and mend {OWNERS[library]}."


RECORDED = {"hades/data/pickles.py"}
"""Names that released pickles hold, whatever is installed."""


def libraries_with(module: ModuleType, texts: list[str]) -> set[str]:
    """Those of the texts that stand in a compiled library of a package."""
    folder = Path(module.__file__ or "").parent
    found: set[str] = set()
    for path in folder.rglob("*"):
        if path.suffix in (".so", ".dylib", ".pyd", ".dll") or ".so." in path.name:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found |= {text for text in texts if content.find(text.encode()) >= 0}
    return found


def test_private_names_stand_in_one_file_each() -> None:
    files = {
        str(p.relative_to(ROOT)): p.read_text() for room in ("hades", "launch") for p in (ROOT / room).rglob("*.py")
    }
    assert {path for path, text in files.items() if PRIVATE.search(text)} <= {*OWNERS.values(), *RECORDED}
    assert PRIVATE.search("from jax._src import distributed")


@pytest.mark.parametrize("library", OWNERS)
def test_versions_that_nobody_has_read_are_not_installed(library: str) -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = {(one := Requirement(text)).name: one.specifier for text in listed}
    assert any(bound.operator == "<" for bound in bounds[library])


@pytest.mark.parametrize(
    ("line", "pattern", "groups"),
    [
        ("nothing_so_called.x = 1", gin_internals.UNKNOWN_NAME, ("nothing_so_called",)),
        ("Evolution.learner = @nothing_so_called()", gin_internals.UNKNOWN_NAME, ("nothing_so_called",)),
        ("Evolution.lerner = 1", gin_internals.UNKNOWN_FIELD, ("Evolution", "lerner")),
        ("Experiment.seed = %nothing_so_called", gin_internals.UNSET_MACRO, ("nothing_so_called",)),
    ],
)
def test_gin_words_its_errors_as_it_did(line: str, pattern: re.Pattern[str], groups: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment("cartpole_hades_r", [line])
    found = pattern.search(str(caught.value.__cause__))
    assert found, mend("gin-config")
    assert found.groups() == groups


def test_gin_keeps_its_state_where_it_did() -> None:
    for name in ("_CONFIG", "_OPERATIVE_CONFIG", "_SINGLETONS", "_IMPORTS", "_FILE_READERS", "_LOCATION_PREFIXES"):
        assert hasattr(gin.config, name), mend("gin-config")
    assert gin.config._FILE_READERS[0][0] is open, mend("gin-config")
    assert callable(gin.config._set_config_is_locked), mend("gin-config")
    with pytest.raises(TypeError, match=gin_internals.CALL_NOTE):
        gin.external_configurable(_fail, "failing_on_purpose")()


def test_imports_are_read_as_gin_reads_them() -> None:
    text = (
        "import one\nfrom two import three\nA.b = @C()\nimport \\\n  four as five\nimport one\nA.b = %d\n=\nimport six"
    )
    assert gin_internals.imported_modules(text) == ["one", "two.three", "four"]
    assert gin_internals.imported_modules("from __gin__ import dynamic_registration") == []


def _fail() -> None:
    raise TypeError("on purpose")


def test_jaxlib_logs_what_it_did() -> None:
    names = ("UNHEALTHY", "LEADER_LOST", "NOT_JOINED", "ABORTED", "GREETING")
    texts = {name: getattr(jax_internals, name) for name in names} | {"COLLECTIVE_FAILED": "Gloo AllGather failed: "}
    assert jax_internals.COLLECTIVE_FAILED.search(texts["COLLECTIVE_FAILED"])
    found = libraries_with(jaxlib, [*texts.values()])
    assert [name for name, text in texts.items() if text not in found] == [], mend("jax")


def test_jax_keeps_its_record_of_processes_and_its_logger_where_they_were() -> None:
    assert jax_internals.distributed_state() is distributed.global_state
    for name in ("client", "process_id", "num_processes"):
        assert hasattr(distributed.global_state, name), mend("jax")
    assert xla_bridge.logger.name == jax_internals.BACKEND_LOGGER, mend("jax")


def test_the_processes_that_jaxlib_names_are_read() -> None:
    text = f"UNAVAILABLE: The following {jax_internals.UNHEALTHY}1, 13\nThe tasks have crashed 3 times."
    assert jax_internals.unhealthy_processes(text) == ["1", "13"]
    assert jax_internals.unhealthy_processes("all are well: 1, 2") == []


def test_orbax_and_tensorstore_name_things_as_they_did() -> None:
    assert checkpoint.UNFINISHED == atomicity_types.TMP_DIR_SUFFIX, mend("orbax-checkpoint")
    assert libraries_with(tensorstore, ["os_error_code"]), mend("orbax-checkpoint")
