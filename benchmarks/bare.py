"""Two servers to measure against: an ASGI echo that does nothing else, and a FastAPI route around FAISS.

    python -m benchmarks.bare echo PORT
    python -m benchmarks.bare fastapi PORT KEYS DIMENSION RESULT_BYTES

Both run under uvicorn as fast as it goes: httptools, uvloop, no access log, no Date and Server headers.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response

M, EF_CONSTRUCTION, EF_SEARCH, NEIGHBORS = 16, 64, 32, 10
"""The graph that likewise uses by default, for every FAISS that it is compared with."""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body of the request."""
    message = await receive()
    body = message["body"]
    while message.get("more_body", False):
        message = await receive()
        body += message["body"]
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def graph(keys: np.ndarray) -> Any:
    """Return a FAISS HNSW index of the keys, shape (n, d), with the parameters above."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(keys.shape[1], M)
    index.hnsw.efConstruction, index.hnsw.efSearch = EF_CONSTRUCTION, EF_SEARCH
    index.add(keys)
    return index


def with_faiss(keys: np.ndarray, labels: np.ndarray, results: list[bytes]) -> Any:
    """Return the FastAPI application that one would write in an afternoon: search, vote, answer."""
    index = graph(keys)
    app = FastAPI()

    @app.post("/lookup")
    async def lookup(request: Request) -> Response:
        key = np.frombuffer(await request.body(), np.float32)[None]
        _, found = index.search(key, NEIGHBORS)
        label = Counter(labels[found[0]].tolist()).most_common(1)[0][0]
        return Response(results[label], media_type="application/json")

    return app


def main() -> None:
    port = int(sys.argv[2])
    if sys.argv[1] == "echo":
        app: Any = echo
    else:
        keys = np.fromfile(sys.argv[3], np.float32).reshape(-1, int(sys.argv[4]))
        labels = np.arange(len(keys)) % 100
        app = with_faiss(keys, labels, [b"a" * int(sys.argv[5])] * 100)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
    )


if __name__ == "__main__":
    main()
