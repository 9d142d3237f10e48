"""Released pickles: their content comes back, and no instruction of a hostile one is run."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from hades.data.pickles import read_pickle
from hades.errors import DatasetError
from tests.policy.released import CONFIG, released_bytes


def test_the_content_of_a_released_pickle_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "data_final.pkl"
    path.write_bytes(released_bytes())
    read = read_pickle(path)
    assert set(read) == {"state", "fitness", "config", "es_config"}
    assert read["state"]["gen_counter"] == 7
    np.testing.assert_array_equal(read["config"]["OBS_VAR"], CONFIG["OBS_VAR"])
    assert read["config"]["ENV_NAME"] == "CartPole-v1"


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_no_function_is_called_and_the_one_asked_for_is_named(tmp_path: Path, protocol: int) -> None:
    path, ran = tmp_path / "x.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"state": Runs(ran)}, protocol))
    with pytest.raises(DatasetError, match=rf"x\.pkl: It .*({os.name}\.mkdir|instruction)"):
        read_pickle(path)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(OrderedDict(a=1)), r"collections\.OrderedDict"),
        (pickle.dumps(np.array([{}], object)), r"numpy\.dtype\('O8'\)"),
        (b"(S'x'\nios\nsystem\n.", "instruction STRING"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "no function"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", r"builtins\.eval"),
        (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", r"numpy\.ndarray\.__class__"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"P1\n.", "instruction PERSID"),
        (b"\x80\x02}(N" + b"\x85" * 100_000 + b"K\x01u.", "in the place of str"),  # its hash would end the process
        (b"\x80\x02r\xff\xff\xff\xff.", "complete"),
        (b"\x80\x04\x8e" + b"\xff" * 8 + b".", "complete"),
        (b"", "complete"),
        (released_bytes()[:-200], "complete"),
    ],
)
def test_what_no_released_file_holds_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"x\.pkl.*{message}"):
        read_pickle(tmp_path / "x.pkl")


def test_a_program_that_does_not_end_in_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hades.data.pickles.MOST_INSTRUCTIONS", 50)
    (tmp_path / "long.pkl").write_bytes(b"\x80\x02N" + b"\x85" * 100 + b".")
    with pytest.raises(DatasetError, match="more than 50 instructions"):
        read_pickle(tmp_path / "long.pkl")
