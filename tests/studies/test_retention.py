"""Retention: what counts as all and as nothing."""

import numpy as np
import pytest

from hades.environments.gymnax import Gymnax
from hades.errors import DatasetError
from hades.studies.retention import Reference, reference


def test_shares_of_a_positive_return_count_from_zero() -> None:
    whole = reference(Gymnax("CartPole-v1"), 500.0)
    np.testing.assert_allclose(whole.retention(np.array([500.0, 250.0, 0.0])), [1.0, 0.5, 0.0])
    assert whole.describe() == "100 % is 500.0, 0 % is 0."


def test_shares_of_a_negative_return_count_from_random_play() -> None:
    np.testing.assert_allclose(Reference(-100.0, -500.0).retention(np.array([-100.0, -300.0])), [1.0, 0.5])
    assert reference(Gymnax("MountainCar-v0"), -110.0).floor == -200.0


def test_nothing_to_retain_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"earns -200\.0, which is not above -200\.0"):
        reference(Gymnax("MountainCar-v0"), -200.0)
