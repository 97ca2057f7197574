"""Settings: where values come from, and what is said about those that cannot be used."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from likewise.errors import SettingsError
from likewise.options import add_arguments, read_settings
from likewise.settings import TABLE, Settings


def parsed(*words: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return vars(parser.parse_args(words))


def test_defaults_need_nothing() -> None:
    """Without flags, environment or file, every setting has its default."""
    assert read_settings({}, {}) == Settings()


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each source gives way to the one before it."""
    file = tmp_path / "likewise.toml"
    file.write_text("port = 1\ndrain_s = 1\nbatch_max = 1\n")
    environ = {"LIKEWISE_PORT": "2", "LIKEWISE_DRAIN_S": "2", "LIKEWISE_CONFIG": str(file)}
    settings = read_settings(parsed("--port", "3"), environ)
    assert (settings.port, settings.drain_s, settings.batch_max, settings.queue_limit) == (3, 2.0, 1, 256)


def test_config_flag_beats_config_variable(tmp_path: Path) -> None:
    """The file itself may be named twice."""
    for name, port in (("a.toml", 1), ("b.toml", 2)):
        (tmp_path / name).write_text(f"port = {port}\n")
    settings = read_settings(
        parsed("--config", str(tmp_path / "a.toml")), {"LIKEWISE_CONFIG": str(tmp_path / "b.toml")}
    )
    assert settings.port == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65536), ("64KiB", 65536), ("64 kib", 65536), ("2MB", 2_000_000), ("1.5MiB", 1_572_864), ("1g", 10**9)],
)
def test_sizes_may_carry_a_unit(text: str, size: int) -> None:
    """Bytes may be written as a person does."""
    assert read_settings({"max_body_bytes": text, "max_upload_bytes": "2GiB"}, {}).max_body_bytes == size


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("on", True), ("FALSE", False), ("0", False)])
def test_switches_are_read_from_words(text: str, value: bool) -> None:
    """The environment has no booleans, so it takes the usual words."""
    assert read_settings({}, {"LIKEWISE_CREATE_KEY": text}).create_key is value


def test_switches_have_flags_for_both_ways() -> None:
    """A flag can also switch off what the environment switched on."""
    assert read_settings(parsed("--no-create-key"), {"LIKEWISE_CREATE_KEY": "1"}).create_key is False


@pytest.mark.parametrize(
    ("flags", "environ", "says"),
    [
        pytest.param({"port": "x"}, {}, ["Flag --port", "'x'", "from 0 to 65535"], id="flag-not-a-number"),
        pytest.param({"port": "70000"}, {}, ["Flag --port", "out of range"], id="flag-out-of-range"),
        pytest.param({}, {"LIKEWISE_DRAIN_S": "nan"}, ["LIKEWISE_DRAIN_S", "seconds"], id="nan"),
        pytest.param({}, {"LIKEWISE_TTL_S": "inf"}, ["LIKEWISE_TTL_S"], id="infinite"),
        pytest.param({}, {"LIKEWISE_ACCESS_LOG": "maybe"}, ["LIKEWISE_ACCESS_LOG", "true or false"], id="switch"),
        pytest.param({}, {"LIKEWISE_JOURNAL": "paper"}, ["LIKEWISE_JOURNAL", "memory, sqlite, redis"], id="choice"),
        pytest.param({"max_body_bytes": "1XB"}, {}, ["--max-body-bytes", "16MiB"], id="unit"),
        pytest.param({"host": "a\0b"}, {}, ["--host", "text"], id="nul"),
        pytest.param({"max_body_bytes": "1GiB"}, {}, ["max_upload_bytes", "Raise"], id="contradiction"),
    ],
)
def test_errors_name_source_and_remedy(flags: dict[str, object], environ: dict[str, str], says: list[str]) -> None:
    """Whatever cannot be used is refused with where it stands and what to give instead."""
    with pytest.raises(SettingsError) as refusal:
        read_settings(flags, environ)
    assert all(word in refusal.value.detail for word in says), refusal.value.detail


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("port = 'x'", ["field port", "whole number"], id="wrong-type"),
        pytest.param("port = true", ["field port"], id="bool-is-no-number"),
        pytest.param("drain_s = false", ["field drain_s"], id="bool-is-no-duration"),
        pytest.param("host = 5", ["field host", "text"], id="number-is-no-text"),
        pytest.param("log_level = 'loud'", ["field log_level", "debug, info"], id="choice"),
        pytest.param("prot = 5", ["'prot'", "likewise settings"], id="unknown-field"),
        pytest.param("port = ", ["not TOML"], id="broken"),
        pytest.param("config = 'again.toml'", ["'config'"], id="file-names-a-file"),
    ],
)
def test_file_errors_name_file_and_field(tmp_path: Path, content: str, says: list[str]) -> None:
    """An error in the file says which file and which field."""
    file = tmp_path / "likewise.toml"
    file.write_text(content)
    with pytest.raises(SettingsError) as refusal:
        read_settings({"config": str(file)}, {})
    assert all(word in refusal.value.detail for word in [str(file), *says]), refusal.value.detail


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is an error, not an empty file."""
    with pytest.raises(SettingsError, match="No such file"):
        read_settings({"config": str(tmp_path / "none.toml")}, {})


def test_direct_construction_is_checked_too() -> None:
    """Settings made in code pass the same checks."""
    with pytest.raises(SettingsError, match="port"):
        Settings(port=-1)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_loopback_needs_no_key(host: str) -> None:
    """On loopback no key is needed, unless asked for."""
    assert Settings(host=host).key_required is False
    assert Settings(host=host, require_key="always").key_required is True


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "edge.local", "127.0.0.1.example.org", ""])
def test_anything_else_needs_a_key(host: str) -> None:
    """What others can reach asks for a key, unless the operator says never."""
    assert Settings(host=host).key_required is True
    assert Settings(host=host, require_key="never").key_required is False


def test_places_follow_the_data_folder(tmp_path: Path) -> None:
    """Files stand in the data folder unless they are given a place."""
    settings = Settings(data_dir=tmp_path)
    assert settings.keys_path == tmp_path / "access-keys.json"
    assert settings.first_key_path == tmp_path / "access-key"
    assert settings.sqlite_path == tmp_path / "journal.sqlite"
    moved = Settings(data_dir=tmp_path, key_file="/k.json", journal_path="/j.sqlite")
    assert (moved.keys_path, moved.sqlite_path) == (Path("/k.json"), Path("/j.sqlite"))


def test_defaults_pass_their_own_checks() -> None:
    """Each default, written as text, is read back as itself."""
    for row in TABLE:
        assert row.read(str(row.default), row.name) == row.default, row.name


def test_only_named_settings_become_flags() -> None:
    """A verb may take a few of the settings."""
    parser = argparse.ArgumentParser()
    add_arguments(parser, only=("data_dir",))
    assert "--data-dir" in parser.format_help()
    assert "--port" not in parser.format_help()
