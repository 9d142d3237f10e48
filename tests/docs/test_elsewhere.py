"""The page on use elsewhere, in a process that has neither hades nor JAX."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hades import zoo
from tests.docs.pages import blocks
from tests.support import ROOT

pytestmark = pytest.mark.system

FORBIDDEN = """
import sys
for name in ("hades", "jax", "flax", "safetensors"):
    sys.modules[name] = None  # importing it raises ImportError
"""


def test_a_policy_of_another_library_plays_in_another_environment(tmp_path: Path) -> None:
    (block,) = (b for b in blocks("python", pages=(ROOT / "docs/elsewhere.md",)) if b.title)
    (tmp_path / block.title).write_text(FORBIDDEN + block.text)
    shutil.copy(zoo.path("cartpole-hades-r-d2"), tmp_path)
    variables = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, block.title], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = re.search(r"2 pairs; return of 10 policies: mean ([\d.]+), worst ([\d.]+)", done.stdout)
    assert found, done.stdout
    assert float(found[1]) > 300
    shown = re.search(r"mean ([\d.]+), worst ([\d.]+)", (ROOT / "docs/elsewhere.md").read_text().split("prints")[-1])
    assert shown, "the page does not say what the script prints"
