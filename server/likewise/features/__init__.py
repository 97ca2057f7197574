"""Input bytes to input, input to key, input to tensor: decoders, feature extractors, model preparation."""
