"""Routes of the models that devices may run themselves: what there is, and the files, packed."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from likewise.errors import NotFound
from likewise.function.function import Function
from likewise.function.sharing import Sharing
from likewise.http.admission import fields_of
from likewise.http.guards import BYPASS, edge_of, json_response, needs

MEDIA_TYPE = "application/vnd.likewise.model"

router = APIRouter(prefix="/v1/functions/{name}/variants", tags=["devices"])


@router.get("", dependencies=[Depends(needs("infer"))], summary="The models that a device may run itself")
async def variants(name: str, request: Request) -> Response:
    """Return the full model and its variants, with what a device has to know to choose one and to run it."""
    fn = edge_of(request).registry.get(name)
    sharing = _sharing(fn)
    listed = []
    for offer in sharing.offers:
        packed = await sharing.packed(offer.file)
        listed.append(
            {
                "name": offer.name,
                "file": offer.file,
                "packed_bytes": len(packed.content),
                "packed_sha256": packed.sha256,
                "bytes": offer.size_bytes,
                "sha256": offer.sha256,
                "takes": offer.takes,
                "cost": offer.cost,
                "memory_bytes": offer.memory_bytes,
                "agreement": offer.agreement,
                "origin": offer.origin,
                "prepare": offer.prepare,
            }
        )
    cost_s = fn.runner.mean_cost_s if fn.runner is not None and fn.runner.computed else None
    return json_response(
        {
            "function": fn.id,
            "fingerprint": fn.fingerprint,
            "input": fn.spec.input.kind,
            "result": sharing.result,
            "cost_s": cost_s,
            "variants": listed,
        }
    )


@router.get("/{file}", dependencies=[Depends(needs("infer"))], summary="The file of such a model, packed")
async def variant(name: str, file: str, request: Request) -> Response:
    """Return a file that the list names, or 304 to whoever has it already."""
    packed = await _sharing(edge_of(request).registry.get(name)).packed(file)
    tag = f'"{packed.sha256}"'
    headers = {**BYPASS, "etag": tag}
    known = fields_of(request.scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
    if any(each.strip().removeprefix("W/") in (tag, "*") for each in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(packed.content, headers=headers, media_type=MEDIA_TYPE)


def _sharing(fn: Function) -> Sharing:
    if fn.sharing is None:
        raise NotFound(
            f"`{fn.id}` shares no model with devices: it has none, or its spec does not say `share_model = true`."
        )
    return fn.sharing
