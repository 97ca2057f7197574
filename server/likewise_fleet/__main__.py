"""`python -m likewise_fleet`: the verb `likewise fleet` as a program of its own."""

from __future__ import annotations

import sys

from likewise_fleet.command import main

if __name__ == "__main__":
    sys.exit(main())
