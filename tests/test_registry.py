"""Names, descriptions, and what the registry refuses."""

import dataclasses
import importlib.metadata
import json
import sys
import types

import pytest

from hades import registry
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.outer.snes import SNES
from tests.support import EVOLUTION, example, run_python

EVERY = [(interface, name) for interface in registry.interfaces() for name in registry.names(interface)]


@pytest.mark.parametrize(("interface", "name"), EVERY)
def test_building_a_description_gives_an_equal_component(interface, name):
    component = example(interface, name)
    description = json.loads(json.dumps(registry.describe(component)))
    rebuilt = registry.build(description)
    assert rebuilt == component
    assert hash(rebuilt) == hash(component)
    assert registry.describe(rebuilt) == description
    assert (description["interface"], description["name"]) == (interface, name)


def test_a_change_of_one_field_is_a_change_of_the_description():
    assert registry.build(registry.describe(EVOLUTION)).outer == SNES(population_size=8)
    assert registry.describe(SNES(sigma=0.1)) != registry.describe(SNES())


def test_the_interfaces_of_the_architecture_have_components():
    assert {"Environment", "Policy", "Normalizer", "InnerLearner", "InitScheme", "Loss", "OuterOptimizer", "Fitness",
            "Algorithm"} <= set(registry.interfaces())  # fmt: skip
    assert {"OpenES", "SNES", "Evosax"} <= set(registry.names("OuterOptimizer"))
    assert registry.get("OuterOptimizer", "SNES") is SNES
    assert registry.name_of(SNES()) == ("OuterOptimizer", "SNES")


def test_unknown_names_are_answered_with_the_known_and_the_nearest():
    with pytest.raises(
        ConfigError, match=r'no OuterOptimizer "OpenEs". Did you mean "OpenES"\? Known: Evosax, OpenES, SNES'
    ):
        registry.get("OuterOptimizer", "OpenEs")
    with pytest.raises(ConfigError, match=r'no interface "Outer". Did you mean .*Known: .*OuterOptimizer'):
        registry.names("Outer")


def test_a_taken_name_is_refused_whatever_its_interface():
    for interface in ("OuterOptimizer", "Environment"):
        with pytest.raises(
            ConfigError, match=r'"SNES" is already registered for OuterOptimizer by hades.outer.snes.SNES'
        ):

            @registry.register(interface, "SNES")
            @dataclasses.dataclass(frozen=True)
            class Other:
                pass

    assert registry.get("OuterOptimizer", "SNES") is SNES


@pytest.mark.parametrize("decorate", [lambda c: c, dataclasses.dataclass], ids=["plain class", "mutable dataclass"])
def test_only_frozen_dataclasses_are_registered(decorate):
    with pytest.raises(ConfigError, match=r"must be a frozen dataclass .*put @dataclasses.dataclass\(frozen=True\)"):

        @registry.register("Fitness", "Unregistered")
        @decorate
        class Unregistered:
            pass

    assert "Unregistered" not in registry.names("Fitness")


def test_registering_a_class_twice_is_no_error():
    assert registry.register("OuterOptimizer", "SNES")(SNES) is SNES


def test_what_was_never_registered_cannot_be_written():
    @dataclasses.dataclass(frozen=True)
    class Mine:
        pass

    with pytest.raises(ConfigError, match=r"Mine is not registered, .*@hades.registry.register"):
        registry.describe(Mine())


def test_objects_that_are_no_configuration_cannot_be_written():
    with pytest.raises(ConfigError, match="cannot be part of a component: use names, numbers"):
        registry.describe(Gymnax("CartPole-v1", params={"x": object()}))


def test_fields_that_a_newer_version_may_have_added_are_named():
    with pytest.raises(ConfigError, match=r'SNES has no field sigmas. Did you mean "sigma"\?.*newer version of hades'):
        registry.build({**registry.describe(SNES()), "sigmas": 0.1})


def test_descriptions_that_lack_something_say_what():
    with pytest.raises(ConfigError, match="The description of Gymnax lacks env_id"):
        registry.build({"interface": "Environment", "name": "Gymnax"})
    with pytest.raises(ConfigError, match=r"described by its interface and name, but there is only {'env_id': 'x'}"):
        registry.build({"env_id": "x"})


def test_options_are_sorted_pairs_however_they_are_given():
    assert registry.options({"b": 1, "a": 2}) == registry.options((("b", 1), ("a", 2))) == (("a", 2), ("b", 1))


THIRD_PARTY = '''
"""A component of somebody else."""
import dataclasses
from hades.environments.point import Point
from hades.registry import register

@register("Environment", "FarPoint")
@dataclasses.dataclass(frozen=True)
class FarPoint(Point):
    stride: float = 0.125
'''


def test_a_third_partys_module_registers_its_component_when_imported(tmp_path):
    (tmp_path / "far_point.py").write_text(THIRD_PARTY)
    code = f"""
import json, sys
sys.path.insert(0, {str(tmp_path)!r})
import far_point
from hades import registry
import gin
gin.parse_config("FarPoint.stride = 0.5")
cls = registry.get("Environment", "FarPoint")
component = cls(max_episode_steps=3)  # built in Python: gin is ignored
rebuilt = registry.build(json.loads(json.dumps(registry.describe(component))))
print(json.dumps([rebuilt == component, cls is far_point.FarPoint, component.stride, rebuilt.stride]))
"""
    assert run_python(code) == [True, True, 0.125, 0.125]


def test_installed_packages_announce_their_components(monkeypatch):
    """An entry point of the group `hades.components` is loaded when components are looked up."""
    module = types.ModuleType("announced")
    loaded = []
    point = types.SimpleNamespace(load=lambda: loaded.append(module))
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: [point] if group == "hades.components" else []
    )
    monkeypatch.setattr(registry._Discovered, "done", False)
    registry.names("Fitness")
    registry.names("Fitness")
    assert loaded == [module]
    assert "hades.environments.point" in sys.modules
    assert registry.get("Environment", "Point") is Point
