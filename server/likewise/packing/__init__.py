"""Models in fewer bytes: ONNX files packed, and unpacked to the very same."""
