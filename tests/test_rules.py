"""No code outside a component's own room depends on its class: an interface answers instead."""

import ast
from functools import cache

import pytest

from hades import registry
from tests.support import ROOT

FILES = sorted(str(p.relative_to(ROOT)) for folder in ("hades", "launch") for p in (ROOT / folder).rglob("*.py"))


@cache
def components() -> dict[str, str]:
    """The folder of every registered class of ours, by the class's name."""
    classes = [
        registry.get(interface, name) for interface in registry.interfaces() for name in registry.names(interface)
    ]
    return {
        c.__name__: "/".join(c.__module__.split(".")[:2]) + "/" for c in classes if c.__module__.startswith("hades.")
    }


def class_tests(tree: ast.AST) -> list[tuple[str, str]]:
    """(name, code) of whatever decides by a class or by the name of one."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("isinstance", "issubclass")
            and len(node.args) == 2
        ):
            compared: list[ast.AST] = [node.args[1]]
        elif isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchClass):
            compared = [node.cls]
        else:
            continue
        inside = [part for one in compared if not isinstance(one, ast.Call) for part in ast.walk(one)]
        names = [part.id for part in inside if isinstance(part, ast.Name)]
        names += [part.attr for part in inside if isinstance(part, ast.Attribute)]
        names += [part.value for part in inside if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        found += [(name, ast.unparse(node)) for name in names]
    return found


def violations(path: str, source: str) -> list[str]:
    """Tests for a registered class in a file outside the room of the class."""
    return [
        f"{path}: {code}"
        for name, code in class_tests(ast.parse(source))
        if name in components() and not path.startswith(components()[name])
    ]


@pytest.mark.parametrize("path", FILES)
def test_no_room_tests_for_another_rooms_component(path: str) -> None:
    assert violations(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(learner, BehaviourCloning)",
        "isinstance(learner, (Identity, int))",
        "isinstance(fitness, EpisodicReturn | ShapedReturn)",
        "issubclass(kind, behaviour_cloning.BehaviourCloning)",
        "type(policy) is MLP",
        "type(policy) in (MLP, CNN)",
        "type(policy).__name__ == 'MLP'",
        "description['name'] == 'FixedInit'",
        "f(algorithm.label) if isinstance(algorithm, PPO) else 0",
    ],
)
def test_a_test_for_a_class_is_found(code: str) -> None:
    assert violations("hades/runs/x.py", code)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("hades/inner/x.py", "isinstance(learner, BehaviourCloning)"),
        ("hades/runs/x.py", "BehaviourCloning(policy=MLP())"),
        ("hades/runs/x.py", "protocol == EpisodicReturn(4)"),
        ("hades/runs/x.py", "isinstance(act, RunningAct)"),
    ],
)
def test_a_components_own_room_and_other_classes_are_free(path: str, code: str) -> None:
    assert violations(path, code) == []
