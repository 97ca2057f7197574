"""Nearest-neighbor search over keys; the only room that knows FAISS."""
