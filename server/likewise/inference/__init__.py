"""Running models: ONNX Runtime in a bounded pool of workers, off the event loop."""
