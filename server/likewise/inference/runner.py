"""What computes a function's results: here, a local model behind its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from likewise.errors import Overloaded
from likewise.inference.batching import Batcher
from likewise.results.encode import Encode
from likewise.types import Halfway, Input, Result


class ModelRunner:
    """Runs the function's own ONNX model and turns its outputs into a result. A `likewise.ports.Runner`."""

    def __init__(self, batcher: Batcher, encode: Encode) -> None:
        """Set up. encode: turns one input's outputs into its result."""
        self._batcher = batcher
        self._encode = encode

    def bill(self, charge: Callable[[str, float], None]) -> None:
        """Have an account charged, with the seconds, for what was computed for clients that went away meanwhile."""
        self._batcher.unclaimed = charge

    async def run(
        self,
        value: Input | Halfway,
        *,
        probe: bool,
        within_s: float = float("inf"),
        account: str = "",
        wanted: asyncio.Future[None] | None = None,
    ) -> tuple[Result, float]:
        """Return the result for an input and the seconds that computing it took; see `Batcher.infer`."""
        outputs, cost_s = await self._batcher.infer(
            value, probe=probe, within_s=within_s, account=account, wanted=wanted
        )
        return self._encode(outputs, value.value if isinstance(value, Halfway) else value), cost_s

    def takes_probes(self, account: str) -> bool:
        """Say whether one more probe of an account would be settled soon."""
        return self._batcher.takes_probes(account)

    def expect_probes(self, expected: Callable[[], bool]) -> None:
        """Have users' inputs wait for a moment where `expected` says that a probe may be about to come."""
        self._batcher.expects_probe = expected

    @property
    def patience_s(self) -> float:
        """How long a request waits at most."""
        return self._batcher.queue_timeout_s

    @property
    def mean_cost_s(self) -> float:
        """Moving average of the seconds that one input takes."""
        return self._batcher.mean_cost_s

    @property
    def queued(self) -> int:
        """Inputs that wait."""
        return self._batcher.queued

    @property
    def wait_s(self) -> float:
        """Seconds that one more input would take, as far as can be told."""
        return self._batcher.wait_s

    @property
    def computed(self) -> int:
        """Inputs computed so far."""
        return self._batcher.inferences

    def overloaded(self, why: str) -> Overloaded:
        """Return the error for a request that cannot wait any longer."""
        return self._batcher.overloaded(why)
