"""docs/settings.md is made from the table of settings, and nothing else."""

from __future__ import annotations

from pathlib import Path

from likewise.commands.settings import markdown
from likewise.settings import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_page_is_what_the_table_says() -> None:
    """The page equals what `likewise settings --markdown` prints; run that to bring it up to date."""
    assert PAGE.read_text(encoding="utf-8") == markdown()


def test_every_setting_has_a_row_with_help() -> None:
    """No setting is left unexplained."""
    text = markdown()
    for row in TABLE:
        assert f"\n| `{row.name}` |" in text
        assert row.help.endswith("."), row.name
