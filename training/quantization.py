"""Bring a key network to 8 bits: half the time of an input, and a third of the memory that it reads.

What makes keys has to be cheap, and each request reads all of its weights. A key is compared by angle, so rounding
its steps changes next to nothing. Weights take 7 of their 8 bits: processors without VNNI add products of two in 16.

    python quantization.py --data DIR --key FLOAT.onnx --out functions/signs/1/key.onnx
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

STEPS = ("Conv", "Relu", "Flatten", "Gemm")


class _Examples(CalibrationDataReader):
    def __init__(self, inputs: Sequence[np.ndarray]) -> None:
        self._left = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        example = next(self._left, None)
        return None if example is None else {"input": example[None]}


def quantize(path: Path, out: Path, examples: Sequence[np.ndarray]) -> None:
    """Write a network with 8-bit weights and activations, but for its first convolution, which sees the input itself.

    examples: inputs without a batch axis, which tell the range of each activation.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = str(Path(folder) / "plain.onnx")
        quant_pre_process(str(path), plain, skip_symbolic_shape=True)
        first = next(node.name for node in onnx.load(plain).graph.node if node.op_type == "Conv")
        quantize_static(
            plain,
            str(out),
            _Examples(examples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(STEPS),
            nodes_to_exclude=[first],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def main() -> None:
    import signs_data

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds gtsrb/")
    parser.add_argument("--key", type=Path, required=True, help="the network as trained")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=32)
    options = parser.parse_args()
    images, _ = signs_data.load(options.data, options.side, held_out=False)
    quantize(options.key, options.out, list(images[::6].numpy()))


if __name__ == "__main__":
    main()
