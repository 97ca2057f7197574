"""The command line: verbs, help, exit codes, keys and settings."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest

import likewise.__main__ as command_line
from likewise.__main__ import main
from likewise.access import AccessControl, read_keys
from likewise.options import read_settings
from likewise.setting import PREFIX
from likewise.settings import Settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No LIKEWISE_ variable of the machine reaches these tests, and nothing is written into the checkout."""
    for row in Settings.__dataclass_fields__:
        monkeypatch.delenv(PREFIX + row.upper(), raising=False)
    monkeypatch.delenv(PREFIX + "CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names the verbs, those of other packages too, and shows examples."""
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {verb} " in text for verb in ("serve", "keys", "settings", "evaluate", "demo", "version"))
    assert "likewise keys add --name" in text


@pytest.mark.parametrize("verb", ["serve", "keys", "settings", "demo"])
def test_each_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb explains itself."""
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert len(capsys.readouterr().out) > 300


def test_help_of_serve_names_flag_default_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """An operator finds all three ways to set something in one place."""
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--max-body-bytes BYTES" in text
    assert "[16MiB; LIKEWISE_MAX_BODY_BYTES]" in text


@pytest.mark.parametrize("words", [[], ["fly"], ["keys"], ["keys", "add"], ["settings", "--fly"]])
def test_wrong_words_end_with_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be understood ends with 2 and says how it is used."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "usage: likewise" in capsys.readouterr().err


def test_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    """The verb and the flag say the same."""
    assert main(["version"]) == 0
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"likewise {version('likewise')}\n" * 2


def test_refusal_is_one_message_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """An error that a person can mend ends with 2 and the remedy on stderr."""
    assert main(["settings", "--port", "abc"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("likewise: Flag --port: 'abc' is not")


@pytest.mark.parametrize(("below", "says"), [("deeper", "Not a directory. "), ("", "File exists. ")])
def test_a_place_that_no_command_foresaw_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str, says: str
) -> None:
    """A data folder that is a file, or within one: failed, and the line names the place and says what to do."""
    (tmp_path / "file").touch()
    place = tmp_path / "file" / below
    assert main(["keys", "add", "--name", "cam", "--scope", "infer", "--data-dir", str(place)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"likewise: {place}: {says}")
    assert line.endswith("name another place.")


def test_verb_that_lacks_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A verb of a package that is half installed names the extra, in its own run and in the list."""
    broken = EntryPoint("paint", "package_that_is_not_there:Command", command_line.GROUP)
    monkeypatch.setattr(command_line, "entry_points", lambda group: [broken])
    assert main(["paint"]) == 2
    assert "pip install 'likewise[paint]'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "likewise[paint]" in " ".join(capsys.readouterr().out.split())


def test_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is no error."""

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("likewise.commands.settings.run", interrupted)
    assert main(["settings"]) == 130


def test_printed_settings_are_a_file_that_gives_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `settings` prints can be kept and handed to --config."""
    odd = tmp_path / 'a "quoted" \\ folder'
    assert main(["settings", "--port", "9", "--drain-s", "2.5", "--create-key", "--data-dir", str(odd)]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)["port"] == 9
    file = tmp_path / "printed.toml"
    file.write_text(text)
    assert read_settings({"config": str(file)}, {}) == Settings(port=9, drain_s=2.5, create_key=True, data_dir=odd)


def test_markdown_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """The reference page comes from the same verb."""
    assert main(["settings", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# Settings\n")


def test_added_key_is_printed_alone_and_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output holds the key and nothing else, so that a script can take it."""
    data = tmp_path / "data"
    assert main(["keys", "add", "--name", "cam-1", "--scope", "infer, insert", "--data-dir", str(data)]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    assert key not in said.err
    control = AccessControl(data / "access-keys.json", required=True)
    assert control.check(f"Bearer {key}", "insert").name == "cam-1"


def test_keys_are_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list shows names and scopes, never a key or a hash; a removed one is gone."""
    place = ["--key-file", str(tmp_path / "keys.json")]
    main(["keys", "add", "--name", "cam-1", "--scope", "insert,infer", *place])
    key = capsys.readouterr().out.strip()
    main(["keys", "list", *place])
    listed = capsys.readouterr().out
    assert listed.split()[:2] == ["cam-1", "infer,insert"]
    assert key not in listed
    assert main(["keys", "remove", "--name", "cam-1", *place]) == 0
    assert read_keys(tmp_path / "keys.json") == ()
    main(["keys", "list", *place])
    assert "No access keys" in capsys.readouterr().err
    assert main(["keys", "remove", "--name", "cam-1", *place]) == 2


def test_keys_of_the_environment_are_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a container the same variable leads the server and this command to one file."""
    monkeypatch.setenv("LIKEWISE_DATA_DIR", str(tmp_path / "volume"))
    assert main(["keys", "add", "--name", "cam-1"]) == 0
    assert (tmp_path / "volume" / "access-keys.json").exists()
    assert capsys.readouterr().out.startswith("lw_")
