"""Finds the packages, so that nobody maintains a list of them; everything else stands in pyproject.toml."""

from setuptools import find_namespace_packages, setup


def installed_below_hades(folder: str) -> list[str]:
    """`folder` of the checkout and what lies in it, under the names they have once installed."""
    return [f"hades.{folder}", *(f"hades.{folder}.{name}" for name in find_namespace_packages(folder))]


packages = [
    *find_namespace_packages(include=["hades", "hades.*"]),
    *installed_below_hades("launch"),
    *installed_below_hades("configs"),
]
setup(packages=[name for name in packages if not name.endswith("__pycache__")])
