"""Routes for operators: health, metrics, stats."""

from __future__ import annotations

import asyncio
import os
from time import monotonic

import orjson
from fastapi import APIRouter, Depends, Request, Response

from likewise.http.edge import Edge
from likewise.http.guards import edge_of, json_response, needs
from likewise.sinks.metrics import Exposition
from likewise.workers.totals import total_metrics, total_stats

router = APIRouter(tags=["operations"])
_STARTED = monotonic()
METRICS, STATS = "metrics", "stats"


@router.get("/livez", summary="Alive?")
async def livez() -> Response:
    """Return 200 while the process works."""
    return json_response({"alive": True})


@router.get("/readyz", summary="Ready for requests?")
async def readyz(request: Request) -> Response:
    """Return 200 once everything is loaded, else 503 with what is missing and how far it is."""
    readiness = edge_of(request).readiness
    document = {"ready": readiness.ready, "missing": readiness.missing, "degraded": readiness.degraded}
    return json_response(document, 200 if readiness.ready else 503)


@router.get("/metrics", dependencies=[Depends(needs("infer"))], summary="Prometheus metrics")
async def metrics(request: Request) -> Response:
    """Return all metrics in the Prometheus text format."""
    edge = edge_of(request)
    text = report(edge, METRICS)
    if edge.workers is not None:
        texts = await edge.workers.collect(METRICS)
        text = await asyncio.to_thread(total_metrics, {edge.workers.place.number: text, **texts})
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/stats", dependencies=[Depends(needs("infer"))], summary="The metrics as JSON, per function")
async def stats(request: Request) -> Response:
    """Return the counters of every function and of the journal."""
    edge = edge_of(request)
    document = _stats(edge)
    if edge.workers is not None:
        others = (await edge.workers.collect(STATS)).values()
        document = await asyncio.to_thread(total_stats, [document, *map(orjson.loads, others)])
    return json_response(document)


def report(edge: Edge, what: str) -> bytes:
    """Return the metrics or the stats of this worker alone, as it tells the others."""
    if what == STATS:
        return orjson.dumps(_stats(edge))
    return Exposition(edge.registry, edge.journal_statistics()).render()


def _stats(edge: Edge) -> dict[str, object]:
    return {
        "uptime_s": round(monotonic() - _STARTED, 3),
        "pid": os.getpid(),
        "functions": {each.id: each.statistics() for each in edge.registry},
        "journal": dict(edge.journal_statistics()),
    }
