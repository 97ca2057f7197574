"""The FastAPI application behind the hot routes: its routers, and every error as a problem document."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from likewise.errors import BadRequest, LikewiseError, MethodNotAllowed, NotFound
from likewise.http import devices, entries, functions, openapi, operations, variants
from likewise.http.edge import Edge
from likewise.http.problems import render, unexpected

ROUTERS = (operations.router, functions.router, entries.router, devices.router, variants.router)


def make_api(edge: Edge, lifespan: Callable[[FastAPI], object]) -> FastAPI:
    """Return the application that answers all but the hot routes."""
    api = FastAPI(
        title="likewise",
        lifespan=lifespan,  # type: ignore[arg-type]
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.edge = edge
    for router in ROUTERS:
        api.include_router(router)
    openapi.complete(api)

    def problem(error: LikewiseError, **more: str) -> Response:
        status, body, headers = render(error)
        return Response(body, status, {**{name.decode(): value.decode() for name, value in headers}, **more})

    @api.exception_handler(LikewiseError)
    async def known(_: Request, error: LikewiseError) -> Response:
        return problem(error)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"`{fault['loc'][-1]}`: {fault['msg']}" for fault in error.errors()[:5])
        return problem(BadRequest(f"The request cannot be read: {faults}."))

    @api.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        path = request.url.path[:100]
        if error.status_code == 405:
            allowed = ", ".join(_methods(api, request))
            text = f"{request.method} is not for {path}; it takes {allowed}. See /openapi.json."
            return problem(MethodNotAllowed(text), allow=allowed)
        return problem(NotFound(f"Nothing at {path}; see /openapi.json for what there is."))

    @api.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        return problem(unexpected(error))

    return api


def _methods(api: FastAPI, request: Request) -> list[str]:
    """Return the methods of all routes at a request's path; HEAD goes with GET."""
    found: set[str] = set()
    for route in itertools.chain(api.routes, *(router.routes for router in ROUTERS)):
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found | {"HEAD"} if "GET" in found else found)
