"""Who may import whom, as docs/architecture.md says, and what `import hades` leaves alone."""

import abc
import ast
import importlib.metadata

import pytest

from hades import registry
from hades.components import COMPONENTS, INTERFACES
from tests.support import ROOT, run_python

COMPONENT_ROOMS = ("environments", "policies", "normalizers", "inner", "outer", "fitness", "data")
LAYERS = {
    "errors": 0,
    "components": 0,
    "types": 1,
    "contracts": 1,
    "devices": 1,
    "displayed": 1,
    "libraries": 1,
    "text": 1,
    "fields": 1,
    "native": 2,
    "optimizers": 2,
    "registry": 2,
    **dict.fromkeys(COMPONENT_ROOMS, 3),
    "algorithms": 4,
    "policy": 5,
    "pictures": 5,
    "runs": 6,
    "commands": 7,
    "costs": 7,
    "studies": 7,
    "report": 8,
    "machines": 8,
    "launch": 9,
    "notebook": 9,
}
"""A room imports from lower layers only, and never from another room of its own layer, `SHARED` excepted."""
SHARED = {f"hades.{room}.base" for room in COMPONENT_ROOMS} | {
    "hades.data.arrays",
    "hades.environments.plausibility",
    "hades.environments.rollout",
    "hades.policies.distributions",
}
"""Modules of a component package that other component packages may import."""
FORBIDDEN = {"runs": ("pictures",), "numbers": ("pictures",)}
"""Rooms of a lower layer that are refused all the same, by room or, for the numbers of a study, by file."""
ONLY_IN = {
    "gin": ("hades/registry/", "hades/runs/", "launch/"),
    "orbax": ("hades/runs/checkpoint.py",),
    "gymnax": ("hades/environments/gymnax.py", "hades/pictures/scenes/"),
    "brax": ("hades/environments/brax.py", "hades/pictures/scenes/"),
    "mujoco": (
        *("hades/environments/brax.py", "hades/environments/physics.py", "hades/pictures/scenes/"),
        "hades/costs/engines.py",
    ),
    "mujoco_playground": ("hades/environments/playground.py", "hades/pictures/scenes/"),
    "evosax": ("hades/outer/evosax.py",),
    "llvmlite": ("hades/native/machine.py",),
    "onnx": ("hades/policy/onnx_graph.py",),
    "gymnasium": ("hades/environments/gymnasium.py",),
    "sklearn": ("hades/environments/examples.py",),
}
LAZY = ("gymnax", "brax", "mujoco", "mujoco_playground", "evosax", "llvmlite", "onnx", "gymnasium", "sklearn")
FILES = sorted(str(p.relative_to(ROOT)) for folder in ("hades", "launch") for p in (ROOT / folder).rglob("*.py"))


def imports(tree: ast.AST, lazy: bool = False) -> list[tuple[str, bool]]:
    """(module, is it imported inside a function) of everything imported at run time."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found += [(f"{node.module}.{alias.name}", lazy) for alias in node.names]
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        found += imports(node, inside)
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    return "launch" if parts[0] == "launch" else parts[1] if len(parts) > 1 else ""


def is_refused(module: str, imported: str) -> bool:
    """Whether a module of ours may not import another one of ours."""
    here, there = room_of(module), room_of(imported)
    if here == there or imported == "hades":
        return False
    if there in FORBIDDEN.get(here, ()) or there in FORBIDDEN.get(module.split(".")[-1], ()):
        return True
    if LAYERS[there] == LAYERS[here]:
        return here not in COMPONENT_ROOMS or not any(imported == m or imported.startswith(m + ".") for m in SHARED)
    return LAYERS[there] > LAYERS[here]


def calls_by_name(tree: ast.AST) -> list[str]:
    """Components that a file looks up by a name in quotes: an import that this test would not see."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "registry.get"
        and all(isinstance(argument, ast.Constant) for argument in node.args)
    ]


def violations(path: str, source: str) -> list[str]:
    """What a file imports although it may not."""
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    tree = ast.parse(source)
    found = [f"{path} imports by name: {call}" for call in calls_by_name(tree)]
    for imported, lazy in imports(tree):
        package = imported.split(".")[0]
        if package in ("hades", "launch") and module != "hades" and is_refused(module, imported):
            found.append(f"{path} imports {imported}")
        if package in ONLY_IN and not path.startswith(ONLY_IN[package]):
            found.append(f"{path} imports {package}")
        if package in LAZY and not lazy and "pictures" not in path:
            found.append(f"{path} imports {package} before it is needed")
    return found


@pytest.mark.parametrize("path", FILES)
def test_imports_point_one_way(path):
    assert violations(path, (ROOT / path).read_text()) == []


def test_no_file_imports_itself_through_others():
    modules = {f.removesuffix(".py").removesuffix("/__init__").replace("/", "."): (ROOT / f).read_text() for f in FILES}
    graph = {module: imported_modules(source, modules) - {module} for module, source in modules.items()}
    for module in [m for m in graph if m != "hades"]:  # the public names lead everywhere
        assert module not in reachable(graph, module), f"{module} is part of a circle"


def imported_modules(source: str, modules: dict[str, str]) -> set[str]:
    """The modules of ours that a file imports, `from package import module` resolved."""
    names = {imported for imported, _ in imports(ast.parse(source))}
    return {name if name in modules else name.rpartition(".")[0] for name in names} & set(modules) - {"hades"}


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        if (module := waiting.pop()) not in found:
            found.add(module)
            waiting += graph[module]
    return found


def test_every_room_has_its_layer():
    rooms = {p.stem for p in (ROOT / "hades").iterdir() if (p.suffix == ".py" or (p / "__init__.py").exists())}
    assert rooms - {"__init__"} <= set(LAYERS)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("hades/outer/x.py", "from hades.inner.identity import Identity"),
        ("hades/outer/x.py", "from hades.algorithms.base import State"),
        ("hades/outer/x.py", "import hades.runs.loop"),
        ("hades/outer/x.py", "from hades.environments.rollout_of_mine import f"),
        ("hades/registry/__init__.py", "from hades.outer.base import OuterOptimizer"),
        ("hades/types.py", "from hades.registry import register"),
        ("hades/algorithms/x.py", "def f():\n    from hades.runs.loop import run"),
        ("hades/runs/x.py", "from hades.report.report import write_report"),
        ("hades/policy/x.py", "from hades.runs.record import RunRecord"),
        ("hades/pictures/x.py", "from hades.runs.record import RunRecord"),
        ("hades/pictures/x.py", "from hades.policy.trained_policy import TrainedPolicy"),
        ("hades/runs/x.py", "from hades.pictures.palette import BLUE"),
        ("hades/studies/size/numbers.py", "from hades.pictures.palette import BLUE"),
        ("hades/studies/x.py", "from hades.costs.plan import describe_plan"),
        ("hades/machines/x.py", "from hades.report.report import write_report"),
        ("hades/policy/x.py", 'from hades import registry\nTasks = registry.get("Environment", "Tasks")'),
        ("hades/outer/x.py", "import gin"),
        ("hades/runs/loop.py", "import orbax.checkpoint as ocp"),
        ("hades/environments/point.py", "def f():\n    import gymnax"),
        ("hades/environments/gymnax.py", "import gymnax"),
        ("hades/outer/evosax.py", "from evosax.algorithms import algorithms"),
        ("hades/algorithms/x.py", "try:\n    import hades.runs\nexcept ImportError:\n    pass"),
    ],
)
def test_the_rules_refuse_what_they_should(path, source):
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("hades/outer/x.py", "from hades.inner.base import InnerLearner"),
        ("hades/fitness/x.py", "from hades.environments.rollout import rollout"),
        ("hades/inner/x.py", "from hades.policies.distributions import Categorical"),
        ("hades/normalizers/running.py", "from hades.normalizers.constant import standardize"),
        ("hades/outer/evosax.py", "def f():\n    import evosax"),
        ("hades/outer/x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hades.runs.loop"),
        ("launch/train.py", "import hades.runs.loop, gin"),
    ],
)
def test_the_rules_allow_what_they_should(path, source):
    assert violations(path, source) == []


HEAVY = ["gymnax", "brax", "evosax", "llvmlite", "mujoco", "mujoco_playground", "orbax", "matplotlib", "gin"]


@pytest.mark.system
def test_importing_hades_loads_no_library():
    loaded = run_python("import hades, json, sys; dir(hades); print(json.dumps(sorted(sys.modules)))")
    assert not set(HEAVY) & set(loaded)
    assert "jax" not in loaded


@pytest.mark.system
def test_reading_a_dataset_and_training_from_it_loads_neither_environments_nor_pictures():
    code = """
import json, sys
import hades
import jax.monitoring
compiled = []
count = lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
jax.monitoring.register_event_duration_secs_listener(count)
dataset = hades.zoo.load("cartpole-hades-r-d2")
read = sorted(sys.modules)
policy = hades.train_policy(dataset, num_updates=1)
print(policy)
print(json.dumps([read, sorted(sys.modules), compiled]))
"""
    absent = {*HEAVY, "pandas", "seaborn", "chex", "PIL", "jinja2", "tensorboardX", "scipy.special"} - {"gin"}
    *loads, compiled = run_python(code)
    for loaded in loads:
        assert not absent & set(loaded)
    # Keys, initial weights, training, and one entry of a stack: each further program costs a cold start about 30 ms.
    assert 0 < len(compiled) <= 4


@pytest.mark.system
def test_knowing_every_component_loads_no_environment_library():
    code = "from hades import registry; import json, sys; registry.discover(); print(json.dumps(sorted(sys.modules)))"
    assert not {"gymnax", "brax", "evosax", "mujoco", "mujoco_playground", "matplotlib"} & set(run_python(code))


def test_no_room_hides_a_public_name():
    """Importing a module sets it as an attribute of its package, in place of what `hades.__getattr__` would give."""
    import hades

    rooms = {path.stem for path in (ROOT / "hades").iterdir()}
    assert not rooms & set(hades.__all__)


def test_public_names_are_those_of_their_modules():
    import hades

    for name in hades.__all__:
        assert getattr(hades, name).__name__.split(".")[-1] == name
    with pytest.raises(AttributeError, match=r"'BehaviorCloning'. Did you mean \"BehaviourCloning\"\?"):
        _ = hades.BehaviorCloning


def test_public_names_include_every_component_and_interface():
    """And a type checker sees them all: it reads the imports under TYPE_CHECKING."""
    import hades

    ours: dict[str, dict[str, str]] = {}
    for interface in registry.interfaces():
        for cls in (registry.get(interface, name) for name in registry.names(interface)):
            if cls.__module__.startswith("hades."):
                ours.setdefault(interface, {})[cls.__name__] = cls.__module__
                if interface != "Algorithm" and abc.ABC in cls.__mro__:  # that one is a protocol
                    base = cls.__mro__[-3]
                    assert INTERFACES[base.__name__] == base.__module__
    assert ours == COMPONENTS
    names = {*INTERFACES, *(name for table in COMPONENTS.values() for name in table)}
    assert {*names, "__version__"} <= set(dir(hades))
    (block,) = (n for n in ast.parse((ROOT / "hades" / "__init__.py").read_text()).body if isinstance(n, ast.If))
    shown = {n.names[0].name: f"{n.module}" for n in block.body if isinstance(n, ast.ImportFrom)}
    assert shown == hades._PUBLIC | {name: module.rpartition(".")[0] for name, module in hades._MODULES.items()}


def test_the_version_is_that_of_the_distribution(monkeypatch):
    import hades

    assert hades.__version__ == importlib.metadata.version("hades-rl")

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert hades.__version__ == "unknown"
