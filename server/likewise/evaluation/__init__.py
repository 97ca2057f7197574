"""`likewise evaluate`: real streams through the engine in process, and what came of the accuracy target."""

from likewise.evaluation.command import add_arguments, run

__all__ = ["add_arguments", "run"]
