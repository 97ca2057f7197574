"""`likewise tune`: which key brings most on inputs of one's own, measured."""

from likewise.tuning.command import add_arguments, run

__all__ = ["add_arguments", "run"]
