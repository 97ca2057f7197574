"""One self-contained page of an evaluation: table, plots, and what there is to say."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from likewise.errors import SettingsError
from likewise.evaluation.plot import draw
from likewise.evaluation.replay import Run
from likewise.evaluation.summary import CAPTION, mean_rows, rows, summarize, titles

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid #8884; text-align: right; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
caption { caption-side: bottom; text-align: left; }
img { max-width: 100%; background: white; border-radius: .5rem; }
"""


def write_page(runs: Sequence[Run], path: Path, first: int, notes: Sequence[str] = ()) -> None:
    """Write the page. first: see `titles`; notes: a sentence each. Raises SettingsError where it cannot be written."""
    summaries = summarize(runs)
    picture = io.BytesIO()
    draw(runs, picture)
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles(first))
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in [*rows(summaries), *mean_rows(summaries)]
    )
    said = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    names = html.escape(", ".join(dict.fromkeys(run.workload for run in runs)))
    try:
        path.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>likewise evaluate: {names}</title><style>{STYLE}</style><h1>{names}</h1>{said}"
            f"<table><caption>{CAPTION}</caption><tr>{head}</tr>{body}</table>"
            '<img alt="harvest against accuracy, and accuracy over the stream" src="data:image/png;base64,'
            f'{base64.b64encode(picture.getvalue()).decode()}"></html>\n',
            encoding="utf-8",
        )
    except OSError as error:
        raise SettingsError(f"--html {path}: cannot be written ({error.strerror}).") from error
