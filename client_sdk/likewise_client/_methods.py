"""The methods of both clients, each declared once: `Client` does what it is asked, `AsyncClient` is awaited for it.

An operation is a generator of steps (`_operations`). Here each becomes a `Method`: a declaration that type checkers
read as the method of whichever client it is looked up on. When the class of a client is made, each declaration gives
way to a plain function, or coroutine function, with the operation's name, signature and documentation.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from likewise_client._answer import Answer, Entry
from likewise_client._errors import LikewiseClientError
from likewise_client._exchange import Steps
from likewise_client._inserts import Batching, WhenFull
from likewise_client._operations import Lookup, Operations, Pages
from likewise_client._reuse import KeyFunction, Reuse, Reused, ReuseOptions
from likewise_client._stream import Stream
from likewise_client._telemetry import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from typing_extensions import Concatenate, ParamSpec, Unpack

    from likewise_client._async_client import AsyncClient
    from likewise_client._client import Client

    P = ParamSpec("P")

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")
Now = TypeVar("Now", covariant=True)
Later = TypeVar("Later", covariant=True)
Answered = TypeVar("Answered")
"""What `infer` returns: an Answer, or what is awaited for one."""
Inserting = TypeVar("Inserting")
"""What `inserts` returns: Inserts, or AsyncInserts."""
Soon = Coroutine[Any, Any, T]


class Method(Generic[Now, Later]):
    """A method that `Client` has as Now and `AsyncClient` as Later."""

    def __init__(self, operation: Callable[..., Any], paged: bool = False) -> None:
        self.operation = operation
        self.paged = paged
        """Whether it yields the entries of pages, rather than return."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, client: Client, owner: type[Any]) -> Now: ...
        @overload
        def __get__(self, client: AsyncClient, owner: type[Any]) -> Later: ...
        def __get__(self, client: Any, owner: type[Any]) -> Any: ...

    def described(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a client's function the name, documentation and signature of the operation that it carries out."""
        operation = self.operation
        function.__name__ = operation.__name__
        function.__qualname__ = f"Client.{operation.__name__}"
        function.__doc__ = operation.__doc__
        signature = inspect.signature(operation)
        returned = str(signature.return_annotation)
        if self.paged:
            returned = "AsyncIterator[Entry]" if inspect.isasyncgenfunction(function) else "Iterator[Entry]"
        elif returned.startswith("Steps["):
            returned = returned[len("Steps[") : -1]
        function.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
        return function


def _each(operation: Callable[Concatenate[Operations, P], Steps[T]]) -> Method[Callable[P, T], Callable[P, Soon[T]]]:
    return Method(operation)


def _paged(
    operation: Callable[Concatenate[Operations, P], Pages],
) -> Method[Callable[P, Iterator[Entry]], Callable[P, AsyncIterator[Entry]]]:
    return Method(operation, paged=True)


class Methods(ABC, Generic[Answered, Inserting]):
    """What can be asked of both clients. A client says how a function that returns steps, or pages, is carried out."""

    _operations: Operations
    _inserts: Callable[..., Inserting]
    """Makes what `inserts` returns."""

    infer = _each(Operations.infer)
    lookup: Method[Lookup[Answer, list[Answer]], Lookup[Soon[Answer], Soon[list[Answer]]]] = cast(
        Any, _each(Operations.lookup)
    )
    insert = _each(Operations.insert)
    insert_many = _each(Operations.insert_many)
    page = _each(Operations.page)
    entries = _paged(Operations.entries)
    register = _each(Operations.register)
    unregister = _each(Operations.unregister)
    invalidate = _each(Operations.invalidate)
    follow = _each(Operations.follow)
    warm_up = _each(Operations.warm_up)
    share_computed = _each(Operations.share_computed)
    functions = _each(Operations.functions)
    stats = _each(Operations.stats)

    def stream(self, function: str, name: str, *, drop_late: bool = False) -> Stream[Answered]:
        """Return the stream of one camera: frames sent through it are answered from what changed between them.

        function: `name` or `name@version`. name: 1 to 128 letters, digits, or . _ - : / signs; one for each camera.
        drop_late: a frame that a newer one overtook raises Conflict instead of being computed.
        """
        return Stream(cast(Any, self).infer, function, name, drop_late)

    def inserts(
        self,
        function: str,
        *,
        entries: int = 200,
        size_bytes: int = 1 << 20,
        age_s: float = 1.0,
        room: int = 2000,
        when_full: WhenFull = "block",
        on_error: Callable[[LikewiseClientError, int], Any] | None = None,
    ) -> Inserting:
        """Return inserts in the background: what is added is sent soon, many in a request, and nobody waits for it.

        A request goes when so many `entries` (at most 500) or bytes are there, or when the first has waited for `age_s`
        seconds; on `flush`, and when it is closed, everything does.
        room: results that may wait or be under way; one more waits for room ("block"), or is dropped ("drop").
        on_error: called with the error and the number of results of a request that failed for good; default: a warning.
        """
        batching = Batching(entries, size_bytes, age_s, room, when_full, on_error)
        return type(self)._inserts(self, function, batching)

    def reuse(
        self, function: str, *, key: KeyFunction | None = None, **options: Unpack[ReuseOptions]
    ) -> Callable[[Callable[[In], Out]], Reused[In, Out]]:
        """Decorate a function of one input, computed on the device, so that neighbors share its results.

        Each call looks up; on a miss it computes, measures the cost, and inserts. `AsyncClient` decorates coroutine
        functions: a blocking one is wrapped as `async def f(x): return await asyncio.to_thread(g, x)`.
        key: from the input to its key, or keys by key type; without it the raw input is sent.
        key_type: which key type is looked up. ttl_s, tags: as for `insert`.
        encode, decode: from the function's result to JSON, bytes or an array, and back.
        fallback: compute on the device while no server can be asked (default), instead of raising.
        What is returned has `cache_info()`, as a function under `functools.lru_cache` has.
        Raises TypeError for a coroutine function where a plain one belongs, and the other way round.
        """
        reuse = Reuse(function, key, **options)

        def decorate(compute: Callable[[In], Out]) -> Reused[In, Out]:
            tally = Tally()

            def steps(value: In) -> Steps[Any]:
                return reuse.steps(self._operations.exchange, tally, value, lambda: compute(value))

            reusing = self._doing(steps)
            if inspect.iscoroutinefunction(compute) != inspect.iscoroutinefunction(reusing):
                raise TypeError("AsyncClient.reuse decorates coroutine functions; Client.reuse the others")
            functools.update_wrapper(reusing, compute)
            reusing.cache_info = tally.info  # type: ignore[attr-defined]
            return cast("Reused[In, Out]", reusing)

        return decorate

    def __init_subclass__(cls) -> None:
        """Put functions in the place of the declarations."""
        super().__init_subclass__()
        if "_method" not in vars(cls):
            return
        for name, declared in vars(Methods).items():
            if isinstance(declared, Method):
                make = cls._pages if declared.paged else cls._method
                setattr(cls, name, declared.described(make(declared.operation)))

    @staticmethod
    @abstractmethod
    def _method(operation: Callable[..., Steps[Any]]) -> Callable[..., Any]:
        """Return the method that carries out an operation of the client's `Operations`."""

    @staticmethod
    @abstractmethod
    def _pages(operation: Callable[..., Pages]) -> Callable[..., Any]:
        """Return the method that yields the entries of an operation's pages."""

    @abstractmethod
    def _doing(self, steps: Callable[[Any], Steps[Any]]) -> Callable[[Any], Any]:
        """Return the function of one argument that carries out the steps for it."""
