"""The page on use elsewhere, in a process that has neither hades nor JAX."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hades import zoo
from hades.policy.gymnasium_play import evaluate_in_gymnasium
from hades.policy.trained_policy import train_policy
from tests.docs.pages import blocks
from tests.support import ROOT

pytestmark = pytest.mark.system

FORBIDDEN = """
import sys
for name in ("hades", "jax", "flax", "safetensors"):
    sys.modules[name] = None  # importing it raises ImportError
"""


def output(title: str, folder: Path) -> str:
    """What a script of the page prints in a folder."""
    (block,) = (b for b in blocks("python", pages=(ROOT / "docs/elsewhere.md",)) if b.title == title)
    (folder / title).write_text(FORBIDDEN + block.text)
    variables = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, title], cwd=folder, env=variables, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_a_policys_file_acts_without_jax(tmp_path: Path) -> None:
    policy = train_policy(zoo.load("cartpole-hades-r-d2"))
    policy.save(tmp_path / "policy.safetensors")
    expected = evaluate_in_gymnasium(policy, "CartPole-v1", num_episodes=1, seed=0).mean
    assert output("act_elsewhere.py", tmp_path) == f"return {expected:.0f}\n"


def test_a_policy_of_another_library_plays_in_another_environment(tmp_path: Path) -> None:
    shutil.copy(zoo.path("cartpole-hades-r-d2"), tmp_path)
    printed = output("train_elsewhere.py", tmp_path)
    found = re.search(r"2 pairs; return of 10 policies: mean ([\d.]+), worst ([\d.]+)", printed)
    assert found, printed
    assert float(found[1]) > 300
    shown = re.search(r"mean ([\d.]+), worst ([\d.]+)", (ROOT / "docs/elsewhere.md").read_text().split("prints")[-1])
    assert shown, "the page does not say what the script prints"
