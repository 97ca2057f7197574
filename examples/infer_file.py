"""Ask for the result of files: the server reuses a near neighbor's, or runs the model.

python examples/infer_file.py http://127.0.0.1:8080 signs photo1.png photo2.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from likewise_client import Client, LikewiseClientError, Overloaded


def main(url: str, function: str, *files: str) -> int:
    """Print each file's result and how it came about; return the exit code."""
    with Client(url) as client:
        for file in files:
            try:
                answer = client.infer(function, Path(file))
            except Overloaded as error:
                print(f"{file}: the server is busy, come back in {error.retry_after_s:.0f} s")
                return 1
            except LikewiseClientError as error:
                print(f"{file}: {error}")
                return 1
            print(f"{Path(file).name}: {answer.result} ({answer.outcome}, {answer.age_s:.0f} s old)")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
