"""From an ONNX file to a function: what the file says, what inputs tell, the spec, a trial, a folder that is served."""
