"""Pieces of graphs that several threads run at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from likewise.inference.graphs import product

K, M = 64, 32


def test_each_thread_gets_the_product_of_its_own_rows() -> None:
    """However their calls fall together."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(K, M)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["product"])],
        "product",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, K])],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, [None, M])],
        [numpy_helper.from_array(weights, "weights")],
    )
    multiply = product(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )

    def work(seed: int) -> bool:
        own = np.random.default_rng(seed)
        for _ in range(300):
            rows = own.normal(size=(int(own.integers(1, 200)), K)).astype(np.float32)
            out = np.full((len(rows), M), np.nan, np.float32)
            multiply(rows, out)
            if not np.allclose(out, rows @ weights, rtol=1e-3, atol=1e-3):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
