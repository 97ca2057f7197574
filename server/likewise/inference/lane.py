"""A lane of the queue in front of a model: bounded, and shared among accounts, which take turns."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from likewise.shares import Shares
from likewise.types import Halfway, Input, Tensor


@dataclass(slots=True, eq=False)
class Job:
    """An input that waits for a worker."""

    value: Input | Halfway
    size_bytes: int
    account: str
    """Who asks; empty: all those without an access key."""
    future: asyncio.Future[tuple[list[Tensor], float]]
    due: float
    """When a user's is refused, by the loop's clock."""
    deadline: float
    """When nobody waits for a user's any more, by the same clock."""
    probe: bool = False


class Lane:
    """Jobs that wait for a worker; bounded in number and in bytes of decoded input.

    Accounts take turns; within one it is first come, first served, but every second turn is for jobs that others wait
    for, too: each of these is worth several answers. Where there is no room, an account that has a larger share of the
    lane than the one that asks makes room.
    """

    __slots__ = ("_after_wanted", "_jobs", "_limit", "_limit_bytes", "_size_bytes", "_wanted")

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._jobs: Shares[Job] = Shares()
        self._wanted: Shares[Job] = Shares()
        self._after_wanted: set[str] = set()  # accounts whose last job that was taken was a wanted one
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: Job) -> bool:
        return job in self._jobs.those_of(job.account)

    def has_room(self, size_bytes: int) -> bool:
        """Say whether one more fits; an empty lane takes anything."""
        count = len(self._jobs)
        return not count or (count < self._limit and self._size_bytes + size_bytes <= self._limit_bytes)

    def of(self, account: str) -> int:
        """Return how many jobs of an account wait."""
        return self._jobs.of(account)

    def greediest(self) -> str:
        """Return the account that has the largest share. There must be one."""
        return max(self._jobs.accounts(), key=self._share)

    def yields(self, account: str, size_bytes: int) -> Job | None:
        """Take out and return the newest job of an account with a larger share than this one would have with one more.

        None: there is no such account.
        """
        if not self._jobs:
            return None
        most = self.greediest()
        if most == account or self._share(most) <= self._share(account, 1, size_bytes):
            return None
        job = self._jobs.newest(most)
        self.drop(job)
        return job

    def put(self, job: Job) -> None:
        """Take in a job; it is the last of its account's."""
        self._jobs.add(job.account, job)
        self._size_bytes += job.size_bytes

    def want(self, job: Job) -> None:
        """Note that others wait for a job, too, if it is still here; call it once for each."""
        if job in self:
            self._wanted.add(job.account, job)

    def take(self) -> Job:
        """Take out the next job of the account whose turn it is."""
        account = next(self._jobs.accounts())
        job = self._jobs.oldest(account)
        if account in self._after_wanted:
            self._after_wanted.remove(account)
        elif self._wanted.of(account):
            job = self._wanted.oldest(account)
            self._after_wanted.add(account)
        self._jobs.take(account, job)
        self._forget(job)
        return job

    def oldest(self, account: str | None = None) -> Job | None:
        """Return the job of an account, or of all of them, that has waited longest."""
        if account is not None:
            return self._jobs.oldest(account)
        return min(map(self._jobs.oldest, self._jobs.accounts()), key=lambda job: job.due, default=None)

    def drop(self, job: Job) -> bool:
        """Take out a job that nobody waits for any more; return whether it was still here."""
        was_here = self._jobs.remove(job.account, job)
        if was_here:
            self._forget(job)
        return was_here

    def _forget(self, job: Job) -> None:
        self._size_bytes -= job.size_bytes
        self._wanted.remove(job.account, job)
        if not self._jobs.of(job.account):
            self._after_wanted.discard(job.account)

    def _share(self, account: str, more: int = 0, more_bytes: int = 0) -> float:
        size_bytes = sum(job.size_bytes for job in self._jobs.those_of(account)) + more_bytes
        return max((self._jobs.of(account) + more) / self._limit, size_bytes / self._limit_bytes)
