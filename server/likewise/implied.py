"""What settings imply: where things are kept, and who may come without an access key."""

from __future__ import annotations

import re
from pathlib import Path

from likewise.errors import SettingsError


class Implied:
    """Properties of `Settings`, which has the fields."""

    host: str
    data_dir: Path
    key_file: str
    journal_path: str
    allowed_hosts: str
    require_key: str
    workers: int
    journal: str
    accuracy_target: float
    emergency_target: float
    max_body_bytes: int
    max_upload_bytes: int

    def check_together(self) -> None:
        """Check those that depend on each other. Raises SettingsError, naming the remedy."""
        if self.workers > 1 and self.journal != "redis":
            raise SettingsError(
                f"Setting workers is {self.workers}, but the {self.journal} journal cannot be shared. "
                "Set journal to redis with redis_url, or workers to 1."
            )
        if self.emergency_target > self.accuracy_target:
            raise SettingsError(
                f"Setting emergency_target ({self.emergency_target}) is above accuracy_target "
                f"({self.accuracy_target}). Lower the first, or leave it at 0."
            )
        if self.max_upload_bytes < self.max_body_bytes:
            raise SettingsError(
                f"Setting max_upload_bytes ({self.max_upload_bytes}) is less than max_body_bytes "
                f"({self.max_body_bytes}). Raise the first or lower the second."
            )

    @property
    def keys_path(self) -> Path:
        """File of access key hashes."""
        return Path(self.key_file).expanduser() if self.key_file else self.data_dir / "access-keys.json"

    @property
    def first_key_path(self) -> Path:
        """Where the first start writes the access key that it created."""
        return self.data_dir / "access-key"

    @property
    def sqlite_path(self) -> Path:
        """File of the SQLite journal."""
        return Path(self.journal_path).expanduser() if self.journal_path else self.data_dir / "journal.sqlite"

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names in `allowed_hosts`."""
        return tuple(each.strip() for each in self.allowed_hosts.split(",") if each.strip())

    @property
    def loopback(self) -> bool:
        """True where nobody but this machine can reach the server."""
        return (
            self.host == "localhost" or self.host == "::1" or re.fullmatch(r"127(\.\d{1,3}){3}", self.host) is not None
        )

    @property
    def key_required(self) -> bool:
        """True where a request without an access key is refused."""
        return self.require_key == "always" or (self.require_key == "auto" and not self.loopback)
