"""Names, descriptions, and what the registry refuses."""

import dataclasses
import importlib
import importlib.metadata
import json
import sys
import threading
import types

import gin
import numpy as np
import pytest

from hades import registry
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.outer.snes import SNES
from tests.support import CLONING, EVOLUTION, example, run_python

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
    with pytest.raises(ConfigError, match=r'OuterOptimizer "OpenEs".*"OpenES".*Evosax, OpenES, SNES'):
        registry.get("OuterOptimizer", "OpenEs")
    with pytest.raises(ConfigError, match=r'"Outer".*OuterOptimizer'):
        registry.names("Outer")


def test_a_taken_name_is_refused_whatever_its_interface():
    for interface in ("OuterOptimizer", "Environment"):
        with pytest.raises(ConfigError, match=r'"SNES".*OuterOptimizer.*hades\.outer\.snes\.SNES'):

            @registry.register(interface, "SNES")
            @dataclasses.dataclass(frozen=True)
            class Other:
                pass

    assert registry.get("OuterOptimizer", "SNES") is SNES


@pytest.mark.parametrize("decorate", [lambda c: c, dataclasses.dataclass], ids=["plain class", "mutable dataclass"])
def test_only_frozen_dataclasses_are_registered(decorate):
    with pytest.raises(ConfigError, match=r"@dataclasses\.dataclass\(frozen=True\)"):

        @registry.register("Fitness", "Unregistered")
        @decorate
        class Unregistered:
            pass

    assert "Unregistered" not in registry.names("Fitness")


def test_registering_a_class_twice_is_no_error():
    assert registry.register("OuterOptimizer", "SNES")(SNES) is SNES


@pytest.fixture
def scratch(monkeypatch):
    """A registry whose new components are gone after the test."""
    monkeypatch.setattr(registry, "_COMPONENTS", {k: dict(v) for k, v in registry._COMPONENTS.items()})


CELL = """
import dataclasses
from hades.registry import register

@register("{interface}", "FromCell")
@dataclasses.dataclass(frozen=True)
class {name}:
    size: int = {size}
"""


def run_cell(size, name="FromCell", interface="Fitness", module="__main__"):
    """The class that a notebook cell defines."""
    names = {"__name__": module}
    exec(CELL.format(name=name, size=size, interface=interface), names)
    return names[name]


def test_a_class_that_is_defined_again_takes_the_place_of_the_old_one(scratch):
    old, new = run_cell(size=1), run_cell(size=2)
    assert registry.get("Fitness", "FromCell") is new
    assert registry.name_of(new()) == ("Fitness", "FromCell")
    assert registry.build(registry.describe(new())) == new(size=2)
    assert type(gin.get_configurable("FromCell")()) is new
    with pytest.raises(ConfigError, match=r"__main__.FromCell was defined again after this FromCell was made"):
        registry.describe(old())
    with pytest.raises(ConfigError, match=r"FromCell.size is 'two'; it must be an integer"):
        new(size="two")


@pytest.mark.parametrize("other", [{"name": "Other"}, {"module": "elsewhere"}, {"interface": "Loss"}], ids=str)
def test_another_class_of_the_name_of_a_cell_is_refused(scratch, other):
    first = run_cell(size=1)
    with pytest.raises(ConfigError, match=r'"FromCell" is already registered for Fitness by __main__.FromCell'):
        run_cell(size=2, **other)
    assert registry.get("Fitness", "FromCell") is first


def gin_replaces(name):
    """Whether gin lets a second function take a name."""
    try:
        for function in (lambda: 1, lambda: 2):
            gin.register(name, module="test")(function)
    except ValueError:
        return False
    return True


def test_gins_interactive_mode_stays_as_the_user_left_it(scratch):
    run_cell(size=1)
    run_cell(size=2)
    assert not gin_replaces("interactive_mode_is_off")
    with gin.config.interactive_mode():
        run_cell(size=3)
        assert gin_replaces("interactive_mode_is_on")


def test_a_component_may_be_defined_after_a_configuration_was_read(scratch):
    gin.finalize()
    try:
        classes = [run_cell(size) for size in (1, 2)]
        assert gin.config_is_locked()
    finally:
        gin.clear_config()
    assert registry.get("Fitness", "FromCell") is classes[1]


TEXT_ANNOTATIONS = {
    "text_base": """
from __future__ import annotations
import dataclasses

Count = int

@dataclasses.dataclass(frozen=True)
class Base:
    count: Count = 1
""",
    "text_component": """
from __future__ import annotations
import dataclasses
from typing import TYPE_CHECKING
from hades.registry import register
from text_base import Base

if TYPE_CHECKING:
    from nowhere import Count

@register("Fitness", "TextAnnotations")
@dataclasses.dataclass(frozen=True)
class TextAnnotations(Base):
    population_size: int = 8
    rate: float = 0.5
    name: "str" = "x"
    unknown: Count | None = None
    later: Later = 1

Later = int
""",
}


def test_types_that_are_text_are_checked_where_they_can_be_resolved(scratch, tmp_path, monkeypatch):
    for name, source in TEXT_ANNOTATIONS.items():
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    component = importlib.import_module("text_component").TextAnnotations
    assert component(population_size=4, rate=1, unknown="anything").rate == 1
    for field, value in (("population_size", "eight"), ("rate", "half"), ("name", 3), ("count", 1.5), ("later", "x")):
        with pytest.raises(ConfigError, match=f"TextAnnotations.{field} is {value!r}; it must be "):
            component(**{field: value})


def test_a_module_that_fails_to_import_fails_the_same_way_again(scratch, tmp_path, monkeypatch):
    (tmp_path / "half_done.py").write_text(THIRD_PARTY.replace("FarPoint", "HalfDone") + "\nimport not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="not_installed"):
            importlib.import_module("half_done")


def test_what_was_never_registered_cannot_be_written():
    @dataclasses.dataclass(frozen=True)
    class Mine:
        pass

    with pytest.raises(ConfigError, match=r"Mine.*@hades\.registry\.register"):
        registry.describe(Mine())


def test_objects_that_are_no_configuration_cannot_be_written():
    point = Point()
    object.__setattr__(point, "stride", object())
    with pytest.raises(ConfigError, match="names, numbers"):
        registry.describe(point)


def test_fields_that_a_newer_version_may_have_added_are_named():
    with pytest.raises(ConfigError, match=r'SNES.*sigmas.*"sigma".*version'):
        registry.build({**registry.describe(SNES()), "sigmas": 0.1})


def test_descriptions_that_lack_something_say_what():
    with pytest.raises(ConfigError, match=r"Gymnax.*env_id"):
        registry.build({"interface": "Environment", "name": "Gymnax"})
    with pytest.raises(ConfigError, match=r"interface.*name.*{'env_id': 'x'}"):
        registry.build({"env_id": "x"})


def test_options_are_sorted_pairs_however_they_are_given():
    given = {"tau": 0.1, "gravity": 9}, (("tau", 0.1), ("gravity", 9)), [["tau", np.float64(0.1)], ["gravity", 9]]
    assert {Gymnax("CartPole-v1", params=params).params for params in given} == {(("gravity", 9), ("tau", 0.1))}


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


@pytest.mark.system
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
heavy = [m for m in ("hades.policies.mlp", "hades.runs.loop") if m in sys.modules]
try:
    registry.register("Policy", "MLP")(far_point.FarPoint)
except registry.ConfigError as error:
    taken = str(error)
print(json.dumps([rebuilt == component, cls is far_point.FarPoint, component.stride, rebuilt.stride, heavy, taken]))
"""
    *same, heavy, taken = run_python(code)
    assert same == [True, True, 0.125, 0.125]
    assert heavy == []  # its own module is all that was needed
    assert taken.startswith('The name "MLP" is already registered for Policy by hades.policies.mlp.MLP')


def announce(monkeypatch, *points):
    """Begin discovery anew, with these entry points."""
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: list(points) if group == "hades.components" else []
    )
    monkeypatch.setattr(registry._Discovered, "done", False)


def test_installed_packages_announce_their_components(monkeypatch):
    """An entry point of the group `hades.components` is loaded when components are looked up."""
    module = types.ModuleType("announced")
    loaded = []
    point = types.SimpleNamespace(load=lambda: loaded.append(module))
    announce(monkeypatch, point)
    registry.names("Fitness")
    registry.names("Fitness")
    assert loaded == [module]
    assert "hades.environments.point" in sys.modules
    assert registry.get("Environment", "Point") is Point


def test_a_discovery_that_failed_is_tried_again(monkeypatch):
    calls = []

    def load():
        calls.append(len(calls))
        if len(calls) < 3:
            raise ImportError(f"failure {len(calls)}")

    announce(monkeypatch, types.SimpleNamespace(load=load))
    for number in (1, 2):
        with pytest.raises(ImportError, match=f"failure {number}"):
            registry.names("Fitness")
    assert "EpisodicReturn" in registry.names("Fitness")
    registry.names("Fitness")
    assert len(calls) == 3


def test_a_component_module_may_look_up_names_while_it_is_discovered(monkeypatch):
    seen = []
    announce(monkeypatch, types.SimpleNamespace(load=lambda: seen.append(registry.names("Fitness"))))
    assert registry.names("Fitness") == seen[0]
    assert len(seen) == 1


def test_a_thread_does_not_look_up_names_before_all_are_there(monkeypatch):
    began, go_on = threading.Event(), threading.Event()
    loaded = []

    def load():
        began.set()
        assert go_on.wait(60)
        loaded.append(threading.get_ident())

    announce(monkeypatch, types.SimpleNamespace(load=load))
    found = []
    threads = [threading.Thread(target=lambda: found.append((registry.names("Fitness"), len(loaded)))) for _ in "ab"]
    threads[0].start()
    assert began.wait(60)
    threads[1].start()
    threads[1].join(0.2)
    assert not found
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2
    assert all(count > 0 for _, count in found)


def test_a_description_with_a_fields_former_name_is_built():
    today = registry.describe(CLONING)
    former = {"num_points" if name == "num_pairs" else name: value for name, value in today.items()}
    assert registry.build(former) == CLONING
    assert registry.upgraded({"algorithm": [former]}) == {"algorithm": [today]}
    with pytest.raises(ConfigError, match="no field points"):
        registry.build({**today, "points": 3})


def test_a_field_that_a_description_lacks_has_its_default_there():
    """An experiment.json from before the field: its run continues."""
    today = registry.describe(CLONING)
    older = {name: value for name, value in today.items() if name not in ("evolve", "batch_size")}
    assert registry.upgraded({"algorithm": [older]}) == {"algorithm": [today]}
    assert registry.upgraded({name: value for name, value in today.items() if name != "num_pairs"}) != today
