"""What programs share."""

from pathlib import Path

import pytest

from hades.errors import ConfigError
from hades.runs.command_line import import_modules


def test_modules_of_a_flag_are_named_before_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "of_a_flag.py").write_text("import sys\nprint('running', file=sys.stderr)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_modules(["of_a_flag"])
    said = capsys.readouterr().err
    assert said.startswith("hades: --import_module imports of_a_flag.")
    assert said.endswith("running\n")
    import_modules([])
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["absent_module", "absent.module", ""])
def test_a_module_that_cannot_be_imported_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--import_module={name} cannot be imported"):
        import_modules([name])
