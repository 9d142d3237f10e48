"""What `tests/conftest.py` promises: one compilation cache of limited size, and no process without the marker."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import shrink
from tests.support import run_python

CHOSEN = """
import jax, json
from hades.runs.compilation_cache import enable_compilation_cache
enable_compilation_cache()
print(json.dumps(jax.config.values["jax_compilation_cache_dir"]))
"""


@pytest.mark.system
def test_a_program_that_a_test_starts_uses_the_cache_of_the_session() -> None:
    assert run_python(CHOSEN) == os.environ["JAX_COMPILATION_CACHE_DIR"]


@pytest.mark.system
def test_a_program_of_a_user_who_chose_no_folder_uses_one_below_their_cache_folder(tmp_path: Path) -> None:
    folder = run_python(CHOSEN, JAX_COMPILATION_CACHE_DIR="", XDG_CACHE_HOME=str(tmp_path))
    assert folder == str(tmp_path / "hades" / "xla")
    assert Path(folder).is_dir()


@pytest.mark.parametrize(("num_bytes", "left"), [(30, {"a", "b", "c"}), (29, {"b", "c"}), (10, {"c"}), (9, set())])
def test_the_oldest_programs_are_deleted_first(tmp_path: Path, num_bytes: int, left: set[str]) -> None:
    for age, name in enumerate("cba"):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    shrink(tmp_path, num_bytes)
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.parametrize(
    "start", [lambda: os.system("true"), lambda: subprocess.run(["true"])], ids=["os", "subprocess"]
)
def test_a_test_without_the_marker_may_not_start_a_process(start, request: pytest.FixtureRequest) -> None:
    with pytest.raises(AssertionError, match=r"mark it @pytest\.mark\.system") as caught:
        start()
    assert request.node.name in str(caught.value)


def test_processes_that_a_library_starts_are_its_own_affair() -> None:
    start = compile("import subprocess; done = subprocess.run(['true'])", "/somewhere/site-packages/library.py", "exec")
    names: dict[str, Any] = {}
    exec(start, names)
    assert names["done"].returncode == 0
