"""Routes of functions: read, register, replace, remove at run time."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from likewise.errors import BadRequest, InvalidFunction, TooLarge, UnsupportedMediaType
from likewise.http import wire
from likewise.http.admission import fields_of
from likewise.http.edge import Edge
from likewise.http.guards import BYPASS, body_of, edge_of, json_response, needs, pieces_of

TOML = "application/toml"

router = APIRouter(prefix="/v1/functions", tags=["functions"])


@router.get("", dependencies=[Depends(needs("infer"))], summary="List the functions")
async def list_functions(request: Request) -> Response:
    """Return a description of every function served."""
    return json_response({"functions": [each.describe() for each in edge_of(request).registry]})


@router.get("/{name}", dependencies=[Depends(needs("infer"))], summary="Describe a function")
async def describe(name: str, request: Request) -> Response:
    """Return the description of one function."""
    return json_response(edge_of(request).registry.get(name).describe())


@router.post("/{name}/infer", include_in_schema=False)
@router.post("/{name}/lookup", include_in_schema=False)
async def hot() -> Response:
    """Stand where `Hot` answers before a request gets here, so that other methods are told what there is."""
    raise AssertionError("a request that Hot answers got past it")


@router.put("/{name}", dependencies=[Depends(needs("admin"))], summary="Register or replace a function")
async def put(name: str, request: Request) -> Response:
    """Serve a function from now on: a multipart form with `spec` and its files, or a spec alone."""
    edge = edge_of(request)
    if "@" in name:
        raise InvalidFunction(f"`{name[:64]}`: put it under its name alone; the version is a field of the spec.")
    spec, media_type, files = await _upload(request, edge)
    function, replaced = await edge.register(name, files, spec, media_type)
    return json_response(function.describe(), 200 if replaced else 201)


@router.delete("/{name}", dependencies=[Depends(needs("admin"))], status_code=204, summary="Remove a function")
async def delete(name: str, request: Request) -> Response:
    """Stop serving a function, named with or without its version; its entries go with it."""
    await edge_of(request).unregister(name)
    return Response(status_code=204, headers=BYPASS)


async def _upload(request: Request, edge: Edge) -> tuple[bytes, str, dict[str, bytes]]:
    """Return spec, its media type, and the files by name."""
    limit = edge.max_upload_bytes
    media_type = wire.media_type(fields_of(request.scope["headers"]).get(b"content-type", b""))
    if media_type in (wire.JSON, TOML):
        return (await body_of(request, limit))[0], media_type, {}
    pieces = pieces_of(request, limit)
    if media_type != "multipart/form-data":
        raise UnsupportedMediaType(
            f"A function comes as multipart/form-data with `spec` and its files, or as {TOML} or {wire.JSON} alone."
        )

    files: dict[str, bytes] = {}
    spec: bytes | None = None
    spec_type = TOML
    try:
        form = await MultiPartParser(request.headers, pieces, max_files=32, max_fields=32, max_part_size=limit).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        raise BadRequest(f"The multipart form cannot be read: {error}.") from None
    try:
        for part, value in form.multi_items():
            content = await value.read() if isinstance(value, UploadFile) else value.encode()
            if part == "spec":
                spec = content
                if isinstance(value, UploadFile) and (value.content_type or "").startswith(wire.JSON):
                    spec_type = wire.JSON
            else:
                if "/" in part or part.startswith(".") or not part:
                    raise BadRequest(f"`{part[:64]}` is no file name; name each part as the spec names the file.")
                files[part] = content
    finally:
        await form.close()
    if spec is None:
        raise BadRequest("The form has no part `spec`; add it with what function.toml would hold.")
    if sum(map(len, files.values())) > limit:
        raise TooLarge(f"The files have over {limit} bytes together; raise max_upload_bytes or send less.")
    return spec, spec_type, files
