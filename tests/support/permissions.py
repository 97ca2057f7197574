"""Commands for which the permissions of files count, also where the tests run as root."""

from __future__ import annotations

import os
import shutil

import pytest

_ABOVE_PERMISSIONS = "-dac_override,-dac_read_search,-fowner"


def obeying(command: list[str]) -> list[str]:
    """Return a command that may do what the modes of files say, and no more; skip the test where that cannot be had."""
    if os.geteuid():
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and setpriv is missing")
    return ["setpriv", "--bounding-set", _ABOVE_PERMISSIONS, *command]
