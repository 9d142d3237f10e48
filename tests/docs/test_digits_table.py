"""The script beside supervised.md: which real images it chooses, and where its table goes."""

import sys

import numpy as np

from tests.support import ROOT

sys.path.insert(0, str(ROOT / "docs"))

import digits_table


def test_real_images_are_chosen_by_their_distance_to_the_mean_of_their_class() -> None:
    values = np.array([0.0, 10.0, 4.0, 6.0, 5.0, 30.0])
    images, labels = values.reshape(6, 1, 1, 1), np.array([0, 0, 0, 1, 1, 1])
    assert digits_table.class_means(images, labels).ravel().tolist() == [14 / 3, 41 / 3]
    assert digits_table.nearest_to_means(images, labels, 2).reshape(2, 2).tolist() == [[4.0, 0.0], [6.0, 5.0]]
    drawn = {tuple(digits_table.random_images(images, labels, seed).ravel()) for seed in range(20)}
    assert len(drawn) > 3
    assert all(zero in values[:3] and one in values[3:] for zero, one in drawn)


def test_the_page_has_a_row_for_each_set() -> None:
    text = (ROOT / "docs/supervised.md").read_text("utf-8")
    table = text.split(digits_table.TITLE)[1].split("\n\n")[0]
    assert all(f"| {title} |" in table for title in digits_table.DISTILLED)
    assert all(name in text for name in digits_table.DISTILLED.values())
