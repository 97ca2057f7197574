"""`likewise compress`: smaller variants of a function's model, made and measured."""

from likewise.compression.command import add_arguments, run

__all__ = ["add_arguments", "run"]
