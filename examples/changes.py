"""Says when what a camera sees changes: reads the lines of `likewise watch`.

likewise watch rtsp://camera/stream --function signs --rate 2 | python examples/changes.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any


def main(lines: Iterable[str]) -> None:
    """Print the time and the result of each frame whose result differs from the one before it in its stream."""
    last: dict[str, Any] = {}
    for line in lines:
        seen = json.loads(line)
        label = seen.get("result", {}).get("label", seen.get("error"))
        if label != last.get(seen["stream"]):
            last[seen["stream"]] = label
            print(f"{seen['time']} {seen['stream']}: {label}", flush=True)


if __name__ == "__main__":
    main(sys.stdin)
