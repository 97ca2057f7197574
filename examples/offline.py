"""Compute where it is cheaper now, on the device where no server is there, and share the results once one is.

python examples/offline.py http://127.0.0.1:8080 signs phone/ photo1.png photo2.png

Takes likewise-client[onnx], and a function whose spec says share_model = true. The folder keeps the model, and results
that wait, so a second run does without the server, and a third one shares what the second computed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from likewise_client import Client, InvalidInput, OnDevice, Retry, Unavailable


def main(url: str, function: str, folder: str, *files: str) -> int:
    """Print each file's result and who computed it; return the exit code."""
    with Client(url, compute="auto", on_device=OnDevice(path=folder), retry=Retry(rounds=1)) as client:
        for file in files:
            try:
                answer = client.infer(function, Path(file))
            except (InvalidInput, Unavailable) as error:
                print(f"{Path(file).name}: {error}")
                return 1
            print(f"{Path(file).name}: {answer.result['label']} ({answer.source})")
        waiting = client.share_computed()
        print(f"{client.computed_on_device().sent} results shared, {waiting} wait")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
