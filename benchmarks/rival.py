"""GPTCache's own server over keys instead of prompts: runs in an environment of its own, where GPTCache is installed.

    python rival.py PORT KEYS_FILE DIMENSION RESULT_BYTES FOLDER

A prompt is the base64 of a key, and the embedding only decodes it: what is timed is the cache, not a text model. The
store is the pair that its documentation starts with: SQLite for answers, FAISS for keys. A hit is a neighbor by search
distance, as in `init_similar_cache`. Its report, which writes each hit to SQLite, is off.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import numpy as np
import uvicorn
from gptcache.adapter.api import init_similar_cache
from gptcache.config import Config
from gptcache.manager import manager_factory
from gptcache.processor.post import first
from gptcache.similarity_evaluation import SearchDistanceEvaluation
from gptcache_server.server import app


class Embedding:
    """Decodes a prompt to the key that it is."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def to_embeddings(self, prompt: str, **_: object) -> np.ndarray:
        return np.frombuffer(base64.b64decode(prompt), np.float32)


def main() -> None:
    port, dimension, result_bytes = int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
    keys = np.fromfile(sys.argv[2], np.float32).reshape(-1, dimension)
    manager = manager_factory(
        "sqlite,faiss",
        data_dir=sys.argv[5],
        vector_params={"dimension": dimension, "top_k": 1},
        eviction_params={"max_size": 2 * len(keys)},  # its default evicts from 1,000 entries on
    )
    init_similar_cache(
        data_dir=sys.argv[5],
        embedding=Embedding(dimension),
        data_manager=manager,
        evaluation=SearchDistanceEvaluation(),
        post_func=first,
        config=Config(log_time_func=None, similarity_threshold=0.8, disable_report=True),
    )
    prompts = [base64.b64encode(key.tobytes()).decode() for key in keys]
    for start in range(0, len(keys), 1000):
        chunk = slice(start, start + 1000)
        answers = ["a" * result_bytes] * len(prompts[chunk])
        manager.import_data(prompts[chunk], answers, list(keys[chunk]), [None] * len(answers))
    print(f"filled {len(keys)} in {Path(sys.argv[5]).name}", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
