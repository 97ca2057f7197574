"""Frames of a camera computed from those before: an incremental executor, methods around it, streams."""
