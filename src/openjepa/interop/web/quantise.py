"""The weights of a graph in 8 bits: a fourth of the bytes to load, and the arithmetic as before.

Dynamic quantisation also rounds what flows between the layers, which costs an encoder more of its accuracy.
"""

from pathlib import Path
from typing import Any

import numpy as np

from openjepa.optional import require

LEVELS = 127
AXIS = 1  # of a weight [inputs, outputs]: each output has a scale


def write_int8(path: Path, to: Path) -> None:
    """Write the graph at `path` with int8 weights in its matrix products. Raises OSError, UsageError without onnx."""
    onnx = require("onnx", "onnx")
    model = onnx.load(path)
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in stored]:
        weight = stored[node.input[1]]
        if weight.data_type == onnx.TensorProto.FLOAT and len(weight.dims) == 2:
            _replace(onnx, graph, node, weight)
    onnx.save_model(model, to)


def _replace(onnx: Any, graph: Any, node: Any, weight: Any) -> None:
    """Give a product its weight as int8 with a scale for each output; a weight that several share is stored once."""
    restored = f"{weight.name}_restored"
    if weight.name not in {each.name for each in graph.initializer}:  # an earlier product has the same
        node.input[1] = restored
        return
    values, scales = eight_bits(onnx.numpy_helper.to_array(weight))
    graph.initializer.remove(weight)
    names = f"{weight.name}_int8", f"{weight.name}_scale"
    graph.initializer.extend(map(onnx.numpy_helper.from_array, (values, scales), names))
    graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", names, [restored], axis=AXIS))
    node.input[1] = restored


def eight_bits(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A weight [inputs, outputs] as int8 and the scales [outputs] float32 that it is to be multiplied by."""
    largest = np.abs(weight).max(axis=0)
    scales = np.where(largest > 0, largest / LEVELS, 1).astype(np.float32)
    return np.rint(weight / scales).clip(-LEVELS, LEVELS).astype(np.int8), scales
