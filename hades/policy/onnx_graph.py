"""A policy as an ONNX graph, for runtimes without Python; it needs the package onnx (the extra of that name)."""

from typing import Any

import numpy as np

from hades.errors import MissingPackageError
from hades.policy.numpy_policy import NumpyPolicy

OPSET, IR_VERSION = 20, 10
"""The operator set of ONNX 1.16: the first that has Gelu, and one that runtimes of 2024 read."""


def onnx_bytes(policy: NumpyPolicy) -> bytes:
    """The model: `observations` f32[N, *obs_shape], raw, to `actions` i64[N] or f32[N, A], and to `output` f32[N, A].

    Raises:
        MissingPackageError: where onnx is not installed.
    """
    try:
        import onnx
        from onnx import helper
    except ImportError as error:
        raise MissingPackageError(
            "Exporting to ONNX needs the package onnx: pip install onnx, or hades-rl[onnx]."
        ) from error
    graph = _Graph(onnx)
    x = graph.add("Div", graph.add("Sub", "observations", policy.mean), policy.std)
    x = graph.add("Clip", x, np.float32(-policy.clip), np.float32(policy.clip)) if policy.clip else x
    for layer in policy.layers:
        if layer.kernel is not None and layer.bias is not None:
            x = graph.add("Add", graph.add("MatMul", x, layer.kernel), layer.bias)
        else:
            x = graph.function(layer.kind, x)
    if policy.actions is not None:
        first, after = (np.array([end]) for end in policy.actions)
        graph.add("Slice", x, first, after, np.array([1]), to="output")
        graph.add("ArgMax", "output", axis=1, keepdims=0, to="actions")
        size, kind = policy.actions[1] - policy.actions[0], onnx.TensorProto.INT64
    else:
        size, kind = len(policy.low), onnx.TensorProto.FLOAT
        graph.add("Identity", x, to="output")
        share = graph.add("Add", graph.add("Clip", "output", np.float32(-1), np.float32(1)), np.float32(1))
        scaled = graph.add("Mul", graph.add("Mul", share, np.float32(0.5)), policy.high - policy.low)
        graph.add("Add", policy.low, scaled, to="actions")
    describe = helper.make_tensor_value_info
    float32, observations = onnx.TensorProto.FLOAT, ["N", *policy.mean.shape]
    made = helper.make_graph(
        graph.nodes,
        policy.environment,
        [describe("observations", float32, observations)],
        [describe("actions", kind, ["N"] if policy.actions else ["N", size]), describe("output", float32, ["N", size])],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, producer_name="hades", opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants; every value has a name."""

    def __init__(self, onnx: Any):
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._onnx = onnx

    def add(self, operator: str, *inputs: str | np.ndarray | np.generic, to: str = "", **attributes: Any) -> str:
        """Add a node, with arrays among its inputs as constants. Returns the name of its output."""
        names = [value if isinstance(value, str) else self._constant(np.asarray(value)) for value in inputs]
        to = to or f"value_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, names, [to], **attributes))
        return to

    def function(self, kind: str, x: str) -> str:
        """Add a layer without weights."""
        if kind == "patches":
            # Ends are counted from the back, so that the sizes need not be known here.
            axes, ends = np.array([1, 2]), (np.int64(-2), np.int64(-1), np.int64(2**31))
            corners = [(np.array([i, j]), np.array([ends[i], ends[j]])) for i in range(3) for j in range(3)]
            return self.add("Concat", *(self.add("Slice", x, *corner, axes) for corner in corners), axis=3)
        if kind == "silu":
            return self.add("Mul", x, self.add("Sigmoid", x))
        operator, attributes = _OPERATORS[kind]
        return self.add(operator, x, **attributes)

    def _constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(value, name))
        return name


_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "flatten": ("Flatten", {"axis": 1}),
    "tanh": ("Tanh", {}),
    "relu": ("Relu", {}),
    "gelu": ("Gelu", {"approximate": "tanh"}),
    "elu": ("Elu", {"alpha": 1.0}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
}
