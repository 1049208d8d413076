"""Settings: which source wins, what is refused and how that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flamebus.config import Origin, Settings, load, unknown_variables
from flamebus.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flamebus.toml"
    path.write_text('hz = 19\nwindow = "5s"\nlateness = "1500ms"\ninflux_token = "s3cret"\n')
    return path


def test_the_strongest_source_wins_and_is_named(file: Path) -> None:
    environment = {"FLAMEBUS_HZ": "49", "FLAMEBUS_WINDOW": "20s"}
    found = load({"hz": 97, "window": None}, environment, file)
    assert (found.settings.hz, found.settings.window, found.settings.lateness) == (97, 20 * 10**9, 1_500_000_000)
    rows = {row.name: row for row in found.rows()}
    assert list(rows) == list(Settings.model_fields)
    assert (rows["hz"].origin, rows["hz"].source, rows["hz"].value) == (Origin.FLAG, "--hz", "97")
    assert (rows["window"].origin, rows["window"].source) == (Origin.ENVIRONMENT, "FLAMEBUS_WINDOW")
    assert (rows["lateness"].origin, rows["lateness"].source) == (Origin.FILE, str(file))
    assert (rows["group"].origin, rows["group"].source) == (Origin.DEFAULT, "")


def test_secrets_are_masked_and_an_empty_one_is_seen_to_be_empty(file: Path) -> None:
    rows = {row.name: row.value for row in load({"token": "abc"}, {}, file).rows()}
    assert (rows["influx_token"], rows["token"]) == ("********", "********")
    assert {row.name: row.value for row in load({}, {}).rows()}["token"] == ""
    assert "s3cret" not in repr(load({}, {}, file))


def test_the_file_is_found_by_its_variable(file: Path) -> None:
    assert load({}, {"FLAMEBUS_CONFIG": str(file)}).settings.hz == 19


def test_the_file_in_the_working_directory_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert load({}, {}).settings.hz == 19
    file.unlink()
    assert load({}, {}).settings.hz == 99


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({"hz": 0}, {}, "setting 'hz' may not be 0 (from --hz): it has to be greater than or equal to 1"),
        ({}, {"FLAMEBUS_HZ": "often"}, "setting 'hz' may not be 'often' (from FLAMEBUS_HZ): it has to be"),
        ({}, {"FLAMEBUS_WINDOW": "0s"}, "setting 'window' may not be '0s' (from FLAMEBUS_WINDOW): it has"),
        ({"window": "ten"}, {}, "setting 'window' may not be 'ten' (from --window): not a duration: 'ten'"),
        ({"spool_bytes": -1}, {}, "setting 'spool_bytes' may not be -1 (from --spool-bytes)"),
        ({}, {"FLAMEBUS_PARTITIONS": "0"}, "setting 'partitions' may not be '0' (from FLAMEBUS_PARTITIONS)"),
        ({"top_k": 1001}, {}, "setting 'top_k' may not be 1001 (from --top-k)"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_explained(
    flags: dict[str, object], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(flags, environment)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hz = 0\n", "setting 'hz' may not be 0 (from {file})"),
        (b'windw = "10s"\n', "there is no setting 'windw' (from {file}); did you mean 'window'?"),
        (b"colour = 3\n", "there is no setting 'colour' (from {file}); flamebus config show lists all"),
        (b"window = 10\n", "setting 'window' (from {file}): write a duration with its unit"),
        (b'token = ["x"]\n', "setting 'token' (from {file}): it has to be a valid string"),
        (b"[agent]\nhz = 9\n", "there is no setting 'agent' (from {file})"),
        (b"hz = \n", "settings file {file} is not TOML"),
        (b"\xff\xfe\x00", "settings file {file} is not TOML"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load({}, {}, file)
    assert str(caught.value).startswith(message.format(file=file))


def test_a_secret_is_in_no_message(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('token = ["s3cret"]\n')
    with pytest.raises(UsageError) as caught:
        load({}, {}, file)
    assert "s3cret" not in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read settings file .*no\.toml: No such file"):
        load({}, {}, tmp_path / "no.toml")
    with pytest.raises(UsageError, match="Is a directory"):
        load({}, {"FLAMEBUS_CONFIG": str(tmp_path)})


def test_variables_that_are_no_settings_are_found() -> None:
    environment = {
        "FLAMEBUS_LATNESS": "1s",
        "FLAMEBUS_HZ": "9",
        "FLAMEBUS_XYZZY": "",
        "FLAMEBUS_CONFIG": "x",
        "HOME": "/",
    }
    assert unknown_variables(environment) == [
        "FLAMEBUS_LATNESS is no setting; did you mean FLAMEBUS_LATENESS?",
        "FLAMEBUS_XYZZY is no setting",
    ]


@pytest.mark.parametrize("bus", ["localhost:9092", "kafka://", "kafka://host", "amqp://host:1", "", "kafka://a:1,b"])
def test_what_is_no_bus_is_refused(bus: str) -> None:
    with pytest.raises(UsageError, match="write it as kafka://host:port"):
        _ = load({"bus": bus}, {}).settings.bootstrap_servers


def test_kinds_are_checked_by_name() -> None:
    assert load({"kinds": " cpu, "}, {}).settings.kind_names == ("cpu",)
    for kinds in ("", ",", "cpu,gpu"):
        with pytest.raises(UsageError, match="there are cpu"):
            _ = load({"kinds": kinds}, {}).settings.kind_names
