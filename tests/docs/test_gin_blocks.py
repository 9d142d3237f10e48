"""Every gin block is a run file that builds, and every shipped run builds."""

from pathlib import Path

import jax
import pytest

from hades.algorithms.evolution import Evolution
from hades.algorithms.ppo import PPO
from hades.algorithms.through_cloning import ThroughCloning
from hades.errors import ConfigError
from hades.runs.gin_config import load_experiment
from hades.runs.shipped import config_names, config_root
from hades.types import size_of
from tests.docs.pages import OUTSIDE, Block, blocks
from tests.support import HAS_PLAYGROUND


@pytest.mark.parametrize("block", [b for b in blocks("gin") if b.page not in OUTSIDE], ids=str)
def test_block_builds(block: Block, tmp_path: Path) -> None:
    path = tmp_path / block.title
    path.write_text(block.text)
    if block.text.startswith("# refused: "):
        message = block.text.splitlines()[0].removeprefix("# refused: ").strip('"')
        with pytest.raises(ConfigError) as caught:
            load_experiment(str(path))
        assert message in str(caught.value)
    else:
        algorithm = load_experiment(str(path)).algorithm
        assert isinstance(algorithm, Evolution)
        assert size_of(algorithm.genome_shapes) > 0


@pytest.mark.parametrize("name", config_names())
def test_shipped_run_builds(name: str) -> None:
    if name.startswith("playground") and not HAS_PLAYGROUND:
        pytest.skip("the optional package playground is not installed")
    algorithm = load_experiment(name).algorithm
    if isinstance(algorithm, PPO):
        actor = jax.eval_shape(lambda key: algorithm.actor.init(key, algorithm.spec), jax.random.key(0))
        assert size_of(actor) > 0
        return
    if isinstance(algorithm, ThroughCloning):
        key = jax.random.key(0)
        assert size_of(jax.eval_shape(lambda key: algorithm.solution(algorithm.init(key)).genome, key)) > 0
        return
    assert isinstance(algorithm, Evolution)
    assert size_of(algorithm.genome_shapes) > 0


@pytest.mark.parametrize("block", [b for b in blocks("gin") if b.title.removesuffix(".gin") in config_names()], ids=str)
def test_quoted_file_is_the_shipped_one(block: Block) -> None:
    shipped = (config_root() / "runs" / block.title).read_text()
    without_header = shipped[shipped.index("include") :]
    assert block.text.strip() == without_header.strip(), f"{block} quotes {block.title}, which has changed"
