"""One self-contained page with the table and the plots."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from likewise_demo.scores import Scores
from likewise_demo.table import rows

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid #8884; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; background: white; border-radius: .5rem; margin: .5rem 0; }
.lead { font-size: 1.2rem; }
"""


def write(folder: Path, scores: Scores, pictures: Sequence[Path]) -> Path:
    """Write index.html into a folder, with the pictures inside it, and return its path."""
    smaller = sum(count for source, (count, _) in scores.sources.items() if source not in ("cache", "model"))
    by_variants = f", {smaller:,} from a smaller model" if smaller else ""
    lead = (
        f"{scores.devices} {scores.senders} sent {scores.requests:,} inputs. {scores.inferences_saved:,} answers came "
        f"from what had been computed before{by_variants}; {scores.accuracy:.2%} of all answers are what the model "
        f"says (target {scores.target:.0%}). The mean latency was {scores.speedup:.1f} times lower."
    )
    body = [("", "with reuse", "without"), *rows(scores)]
    return document(folder / "index.html", f"likewise: {scores.workload}", lead, body, pictures)


def document(
    path: Path,
    title: str,
    lead: str,
    rows: Sequence[Sequence[str]],
    pictures: Sequence[Path],
    notes: Sequence[str] = (),
) -> Path:
    """Write a page with a table, whose first row is its head, pictures, and notes below; return its path."""
    head, *body = ("".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in row) for cell, row in _cells(rows))
    table = "".join(f"<tr>{row}</tr>" for row in (head, *body))
    images = "".join(
        f'<img alt="{each.stem}" src="data:image/png;base64,{base64.b64encode(each.read_bytes()).decode()}">'
        for each in pictures
    )
    below = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    path.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(title)}</h1><p class=lead>{html.escape(lead)}</p>"
        f"<table>{table}</table>{images}{f'<ul>{below}</ul>' if below else ''}</html>\n",
        encoding="utf-8",
    )
    return path


def _cells(rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    for at, row in enumerate(rows):
        yield "td" if at else "th", row
