"""Everything an operator can set, in one table: the fields of `Settings`.

A value comes from the first of: a flag (`--max-body-bytes`), the environment (`LIKEWISE_MAX_BODY_BYTES`), a TOML file
(`max_body_bytes`, given with `--config` or `LIKEWISE_CONFIG`), the default. Flags, docs/settings.md and the checks are
all made from the same fields, so they cannot drift apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from likewise.budget_settings import BudgetSettings
from likewise.errors import SettingsError
from likewise.journal_settings import JournalSettings
from likewise.lease_settings import LeaseSettings
from likewise.setting import Setting, row, rows_of

_MIB = 1 << 20


# ruff: noqa: RUF009 - each call describes a field, the defaults themselves are immutable
@dataclass(frozen=True)
class Settings(LeaseSettings, BudgetSettings, JournalSettings):
    """All settings of a server, checked. May be built directly, with any left out at its default."""

    host: str = row(
        "127.0.0.1",
        "Address to listen on. Anything but loopback takes an access key first.",
        group="Where it listens",
    )
    port: int = row(8080, "Port to listen on; 0 takes any free one and prints it.", minimum=0, maximum=65535)
    keep_alive_s: float = row(
        75.0, "An idle connection is closed after this.", unit="seconds", minimum=1, maximum=86_400
    )
    head_timeout_s: float = row(
        10.0,
        "The head of a request has to arrive within this, from its first byte; a new connection has to send one.",
        unit="seconds",
        minimum=0.1,
        maximum=3600,
    )
    body_timeout_s: float = row(
        30.0,
        "The body of a request has to arrive within this, plus the time its bytes take at min_rate.",
        unit="seconds",
        minimum=0.1,
        maximum=3600,
    )
    write_timeout_s: float = row(
        30.0,
        "A client that does not read its answer at min_rate is dropped after this.",
        unit="seconds",
        minimum=0.1,
        maximum=3600,
    )
    min_rate: int = row(
        4096, "Slowest rate at which a body is sent or an answer read.", unit="bytes a second", minimum=1
    )
    max_connections: int = row(
        4096, "Connections at once, to each worker; more are answered with 503, but for /livez.", minimum=1
    )
    max_connections_per_address: int = row(
        0,
        "Connections at once from one IPv4 address or IPv6 /64 network; 0: three quarters of max_connections, so that "
        "one address cannot take all, and many devices may share a gateway.",
        minimum=0,
    )
    drain_s: float = row(
        10.0, "On SIGTERM, requests under way get this long to finish.", unit="seconds", minimum=0, maximum=3600
    )

    workers: int = row(
        1,
        "Worker processes behind the port; more than one share what they compute through Redis.",
        minimum=1,
        maximum=256,
    )

    functions: Path = row(
        Path("functions"), "Folder of functions, one sub-folder with a function.toml each.", group="What it serves"
    )
    data_dir: Path = row(
        Path("likewise-data"), "Folder for what is kept: access keys, the journal, functions registered over HTTP."
    )
    allow_registration: bool = row(True, "Functions may be registered, replaced and removed over HTTP (scope admin).")
    registration_timeout_s: float = row(
        20.0,
        "A function that is registered has to be loaded and tried within this, in a process of its own.",
        unit="seconds",
        minimum=1,
        maximum=3600,
    )

    log_level: str = row(
        "info", "Least severe message to log.", choices=("debug", "info", "warning", "error"), group="What it tells"
    )
    access_log: bool = row(False, "Log a line for each request; costs time on the hot path.")

    capture: str = row(
        "",
        "File that records requests and answers, to evaluate and play them again; empty: none. no-store is never kept.",
    )
    capture_keeps: str = row(
        "inputs",
        "What a capture keeps beside results: inputs and names of devices, or keys alone, with pseudonyms for devices.",
        choices=("inputs", "keys"),
    )
    capture_bytes: int = row(
        1 << 30,
        "All files of a worker's capture together; the oldest quarter makes room for what comes.",
        unit="bytes",
        minimum=1 << 16,
    )
    capture_pending_bytes: int = row(
        16 * _MIB,
        "Requests that wait to be recorded; more are left out and counted. Those of one access key leave a fifth to "
        "others.",
        unit="bytes",
        minimum=1 << 16,
    )

    accuracy_target: float = row(
        0.95,
        "Of all answers given, at least this share is what the model would have answered. A function may set its own.",
        minimum=0.5,
        maximum=0.9999,
        group="Reuse",
    )
    capacity_entries: int = row(20_000, "Entries kept for each function that does not set its own capacity.", minimum=1)
    capacity_bytes: int = row(
        256 * _MIB, "Memory for the entries of each function that does not set its own.", unit="bytes", minimum=1 << 16
    )
    account_entries_share: float = row(
        0.5,
        "Share of a function's entries, and of their bytes, beyond which what an access key, or a group of keys, "
        "brings takes the place of its own where room is short, while others have entries, too. 1: no limit.",
        minimum=0.01,
        maximum=1.0,
    )
    ttl_s: float = row(
        3600.0,
        "A result may be reused for this long, where its function does not say otherwise.",
        unit="seconds",
        minimum=0.001,
        maximum=315_360_000,
    )
    seed: int = row(
        -1,
        "Seed of the choice of probes, to repeat a run exactly in tests: such choices can be foreseen. "
        "-1 takes them from the operating system.",
        minimum=-1,
    )

    inference_workers: int = row(
        0, "Inferences that run at once; 0 fits the machine.", minimum=0, maximum=256, group="Inference"
    )
    inference_threads: int = row(1, "Threads of each inference; 0 fits the machine.", minimum=0, maximum=256)
    model_memory_bytes: int = row(
        0,
        "Memory for all models of a worker together, weights and what they compute; 0: half of what there is.",
        unit="bytes",
        minimum=0,
    )
    inference_timeout_s: float = row(
        30.0,
        "A batch that takes longer is ended, and its inputs once more one by one, each in its share of that.",
        unit="seconds",
        minimum=0.1,
        maximum=86_400,
    )
    batch_max: int = row(16, "Inputs in one batch, where the model's batch axis is dynamic.", minimum=1, maximum=1024)
    queue_limit: int = row(
        256, "Inputs of a function that may wait for an inference; more are answered with 503.", minimum=1
    )
    queue_bytes: int = row(
        256 << 20,
        "Bytes of decoded inputs of a function that may wait for an inference; more are answered with 503.",
        unit="bytes",
        minimum=1 << 20,
    )
    queue_timeout_s: float = row(
        10.0,
        "A request that waited this long for its turn, or for an inference, is answered with 503.",
        unit="seconds",
        minimum=0.01,
        maximum=3600,
    )
    stream_bytes: int = row(
        1024 * _MIB,
        "Memory for the state of streams, over all functions of a worker; beyond, one of the account that has most "
        "starts anew.",
        unit="bytes",
        minimum=1 << 20,
    )

    max_head_bytes: int = row(
        64 << 10,
        "Largest request head; larger ones are answered with 431.",
        unit="bytes",
        minimum=1024,
        maximum=1 << 20,
        group="Limits",
    )
    max_body_bytes: int = row(
        16 * _MIB, "Largest request body; larger ones are refused unread.", unit="bytes", minimum=1024
    )
    max_upload_bytes: int = row(
        256 * _MIB, "Largest request body that registers a function, its model included.", unit="bytes", minimum=1024
    )
    max_held_bytes: int = row(
        512 * _MIB,
        "All request bodies together that a worker holds, room for one upload at least; beyond, the one that has been "
        "arriving longest is given up.",
        unit="bytes",
        minimum=1024,
    )
    max_unread_bytes: int = row(
        256 * _MIB,
        "All answers together that clients of a worker have not read yet; beyond, the address that has most loses the "
        "connection that has not read for longest.",
        unit="bytes",
        minimum=1024,
    )
    max_result_bytes: int = row(1 * _MIB, "Largest result that is kept or inserted.", unit="bytes", minimum=64)
    max_keys_per_lookup: int = row(1024, "Keys in one lookup.", minimum=1, maximum=65_536)
    max_answer_bytes: int = row(
        8 * _MIB,
        "Results in the answer to one lookup of many keys, all together.",
        unit="bytes",
        minimum=1024,
        maximum=1 << 30,
    )
    max_entries_per_insert: int = row(1024, "Entries in one insert.", minimum=1, maximum=65_536)
    max_pixels: int = row(
        25_000_000, "Largest picture that is decoded.", unit="pixels", minimum=1, maximum=1_000_000_000
    )
    max_audio_s: float = row(60.0, "Longest sound that is decoded.", unit="seconds", minimum=0.01, maximum=86_400)
    max_elements: int = row(
        4_000_000, "Largest array that is decoded.", unit="numbers", minimum=1, maximum=1_000_000_000
    )
    inline_bytes: int = row(
        16 << 10,
        "Inputs up to this size are decoded on the event loop, where that is quicker than handing them to a thread.",
        unit="bytes",
        minimum=0,
    )
    inline_values: int = row(
        1 << 18,
        "Inputs that decode to more numbers than this are handed to a thread, however short they are.",
        minimum=0,
    )
    seen_bytes: int = row(
        4 << 20,
        "Memory of each function for keys of the latest inputs up to inline_bytes: the same bytes are not read again.",
        unit="bytes",
        minimum=0,
    )

    require_key: str = row(
        "auto",
        "When a request needs an access key: always, never, or (auto) unless the server listens on loopback alone. "
        "A key that is sent is checked in any case.",
        choices=("auto", "always", "never"),
        group="Access",
    )
    key_file: str = row("", "File of access key hashes; empty: access-keys.json in the data folder.")
    create_key: bool = row(
        False, "Where a key is needed and none exists, the first start writes one to the file access-key there."
    )

    allowed_hosts: str = row(
        "",
        "Host names, with commas, under which requests without an access key are taken as well, forwarded ones and "
        "those of web pages there included; `*` takes all. By default a request without a key has to come straight "
        "to a loopback name or address.",
    )

    def __post_init__(self) -> None:
        """Check each value against its row, and those that depend on each other."""
        for setting in TABLE:
            setting.check(getattr(self, setting.name), f"Setting {setting.name}")
        if self.workers > 1 and self.journal != "redis":
            raise SettingsError(
                f"Setting workers is {self.workers}, but the {self.journal} journal cannot be shared. "
                "Set journal to redis with redis_url, or workers to 1."
            )
        self.check_target(self.accuracy_target)
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


TABLE: tuple[Setting, ...] = rows_of(Settings)
