"""The table at the end."""

from __future__ import annotations

from rich.table import Table

from likewise_demo.scores import Scores


def rows(scores: Scores) -> list[tuple[str, str, str]]:
    """Return (what, with reuse, without) as printed."""
    s = scores
    labels = []
    if s.label_accuracy is not None and s.baseline_label_accuracy is not None:
        labels = [("accuracy against the true label", f"{s.label_accuracy:.4f}", f"{s.baseline_label_accuracy:.4f}")]
    return [
        ("requests", f"{s.requests:,}", f"{s.requests:,}"),
        ("opportunities (the right result was there)", f"{s.opportunities:,}", ""),
        ("hits", f"{s.hits:,}", "0"),
        ("probes (looked safe, computed to check)", f"{s.probes:,}", ""),
        ("false hits", f"{s.false_hits:,}", ""),
        ("harvest (correct hits ÷ opportunities)", f"{s.harvest:.3f}", ""),
        (f"accuracy against the model (target {s.target:.2f})", f"{s.accuracy:.4f}", "1"),
        *labels,
        ("mean latency", f"{s.mean_ms:.2f} ms", f"{s.baseline_mean_ms:.2f} ms"),
        ("median latency", f"{s.p50_ms:.2f} ms", f"{s.baseline_p50_ms:.2f} ms"),
        ("99th percentile", f"{s.p99_ms:.2f} ms", f"{s.baseline_p99_ms:.2f} ms"),
        ("speed-up of the mean", f"{s.speedup:.1f} ×", ""),
        ("inferences saved", f"{s.inferences_saved:,}", ""),
        *(
            (f"answered by the {source}", f"{count:,} ({count / max(1, s.requests):.1%}), {wrong:,} wrong", "")
            for source, (count, wrong) in sorted(s.sources.items(), key=_place)
        ),
    ]


def _place(item: tuple[str, tuple[int, int]]) -> int:
    """Return where a source stands: the cache first, the model last, variants between in the order of their coming."""
    return {"cache": 0, "model": 2}.get(item[0], 1)


def table(scores: Scores) -> Table:
    """Return the figures as a table for the terminal."""
    made = Table(title=f"{scores.workload}: {scores.devices} {scores.senders} sharing results", title_justify="left")
    made.add_column("")
    made.add_column("with reuse", justify="right")
    made.add_column("without", justify="right")
    for row in rows(scores):
        made.add_row(*row)
    return made
