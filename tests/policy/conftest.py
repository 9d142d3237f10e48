"""The finished run of `tests/run`, whose dataset file is loaded here."""

from tests.runs.conftest import finished as finished
