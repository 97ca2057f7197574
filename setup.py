"""Puts the function that the demonstration serves into the package; everything else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DIGITS = Path("functions") / "digits"


class BuildWithDigits(build_py):
    """Copies `functions/digits` beside the demonstration's modules; a checkout is served from where it is."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode and DIGITS.is_dir():  # the container image has its own
            shutil.copytree(DIGITS, Path(self.build_lib) / "likewise_demo" / DIGITS, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithDigits})
