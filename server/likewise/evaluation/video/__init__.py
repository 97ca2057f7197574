"""Videos through every method of reuse between frames, under the ledger, against the full run of the same model."""

from likewise.evaluation.video.command import run, wanted

__all__ = ["run", "wanted"]
