"""Real streams for demo, evaluation and benchmarks: handwritten digits, spoken digits, traffic signs."""

from __future__ import annotations

from likewise.workloads.make import WORKLOAD_NAMES, open_workload
from likewise.workloads.sample import Sample, Workload

__all__ = ["WORKLOAD_NAMES", "Sample", "Workload", "open_workload"]
