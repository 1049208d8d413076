"""Settings: flag > ``FLAMEBUS_…`` environment > TOML file > default, and where each value came from."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from flamebus.clock import format_duration, parse_duration
from flamebus.errors import UsageError
from flamebus.profile import Kind
from flamebus.wire.topics import DEFAULT_PARTITIONS, DEFAULT_PREFIX

ENVIRONMENT_PREFIX = "FLAMEBUS_"
_MASK = "********"


def _duration_ns(value: object) -> object:
    try:
        return parse_duration(value) if isinstance(value, str) else value
    except UsageError as error:
        raise ValueError(str(error)) from error


Duration = Annotated[int, BeforeValidator(_duration_ns), Field(ge=0)]
"""Nanoseconds; written as ``10s`` or ``250ms`` outside."""


class Origin(StrEnum):
    """Where a setting's value came from, strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


class Settings(BaseModel):
    """Every setting of every process. docs/settings.md has a heading for each, which a test checks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bus: str = Field("kafka://127.0.0.1:9092", description="Kafka bootstrap servers, kafka://host:port[,host:port…].")
    # The store's files are named after topics, among other things, and names of files end at 255 bytes.
    topic_prefix: str = Field(DEFAULT_PREFIX, max_length=80, description="Goes before the name of every topic.")
    partitions: int = Field(DEFAULT_PARTITIONS, ge=1, description="Partitions of topics that we create.")
    replication: int = Field(1, ge=1, description="Replicas of topics that we create.")
    store: str = Field("var/store", description="Object store: a directory or s3://bucket/prefix.")
    s3_endpoint: str = Field("", description="S3 endpoint such as http://127.0.0.1:9000; empty for AWS.")
    kinds: str = Field("cpu", description="Kinds that the agent collects and the workers read, comma-separated.")

    hz: int = Field(99, ge=1, le=10_000, description="Samples per second and CPU.")
    service: str = Field("", description="Overrides the service name of every sample of this host.")
    service_rules: str = Field("", description="TOML file of [[rule]] tables that name services.")
    interval: Duration = Field(
        10 * 10**9, description="Length of a batch; keeps dictionaries small when it divides the window."
    )
    spool: str = Field("var/spool", description="Directory that keeps batches while the bus is away.")
    spool_bytes: int = Field(256 * 1024 * 1024, ge=0, description="Most bytes the spool may take.")
    symbol_cache_bytes: int = Field(24 * 1024 * 1024, ge=0, description="Most bytes of symbol tables kept in memory.")

    window: Duration = Field(10 * 10**9, gt=0, description="Size of a window of event time.")
    lateness: Duration = Field(2 * 10**9, description="How late data may be and still be counted in its window.")
    top_k: int = Field(30, ge=1, le=1000, description="Functions by self and by total kept per window.")
    group: str = Field("flamebus-stream", description="Consumer group of the workers.")
    influx_url: str = Field("", description="InfluxDB 2 base address; empty writes no series.")
    influx_token: SecretStr = Field(SecretStr(""), description="InfluxDB token.")
    influx_org: str = Field("flamebus", description="InfluxDB organisation.")
    influx_bucket: str = Field("flamebus", description="InfluxDB bucket.")
    metrics_listen: str = Field("", description="host:port of the worker's or agent's own /metrics; empty for none.")

    listen: str = Field("127.0.0.1:4040", description="Address of the page and API.")
    token: SecretStr = Field(SecretStr(""), description="Bearer token; required when listening beyond loopback.")
    retention: Duration = Field(30 * 86400 * 10**9, description="How long the store keeps profiles.")

    @property
    def bootstrap_servers(self) -> str:
        """What Kafka clients want: ``host:port,host:port``.

        Raises:
            UsageError: the bus is not ``kafka://…``.
        """
        scheme, separator, servers = self.bus.partition("://")
        if not separator or scheme != "kafka" or not all(":" in server for server in servers.split(",")):
            raise UsageError(f"not a bus: {self.bus!r}; write it as kafka://host:port[,host:port…]")
        return servers

    @property
    def kind_names(self) -> tuple[str, ...]:
        """The kinds asked for.

        Raises:
            UsageError: a kind that does not exist.
        """
        names = tuple(name.strip() for name in self.kinds.split(",") if name.strip())
        unknown = [name for name in names if name not in list(Kind)]
        if unknown or not names:
            raise UsageError(f"unknown kinds {', '.join(unknown) or '(none given)'}; there are {', '.join(Kind)}")
        return names


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as ``flamebus config show`` prints it; secrets are masked.

    Attributes:
        source: the flag, the variable or the file that the value came from; empty for a default.
    """

    name: str
    value: str
    origin: Origin
    source: str
    description: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings in force and the origin of each."""

    settings: Settings
    origins: Mapping[str, Origin]
    file: str = ""

    def rows(self) -> tuple[Setting, ...]:
        """All settings in the order of their definition."""
        return tuple(
            Setting(
                name,
                shown(name, getattr(self.settings, name)),
                self.origins[name],
                _source(name, self.origins[name], self.file),
                field.description or "",
            )
            for name, field in Settings.model_fields.items()
        )


def _source(name: str, origin: Origin, file: str) -> str:
    """What a person has to change to change the value."""
    flag, variable = f"--{name.replace('_', '-')}", ENVIRONMENT_PREFIX + name.upper()
    return {Origin.FLAG: flag, Origin.ENVIRONMENT: variable, Origin.FILE: file, Origin.DEFAULT: ""}[origin]


def shown(name: str, value: object) -> str:
    """A setting's value as it is written outside; a secret that is set is masked."""
    if isinstance(value, SecretStr):
        return _MASK if value.get_secret_value() else ""
    if name in _DURATIONS and isinstance(value, int):
        return format_duration(value)
    return str(value)


_DURATIONS = frozenset({"interval", "window", "lateness", "retention"})
_SECRETS = frozenset({"influx_token", "token"})


def load(
    flags: Mapping[str, object], environment: Mapping[str, str] | None = None, file: Path | None = None
) -> Configuration:
    """Settings from all sources.

    Args:
        flags: values given on the command line, by setting name; ``None`` means not given.
        environment: defaults to the process's; names are ``FLAMEBUS_`` and the setting in capitals.
        file: TOML file; defaults to ``FLAMEBUS_CONFIG``, else ``flamebus.toml`` in the working directory if it exists.

    Raises:
        UsageError: a value that is not allowed, an unknown setting in the file, or a file that cannot be read.
    """
    environment = os.environ if environment is None else environment
    path, in_file = _from_file(file, environment)
    sources: list[tuple[Origin, Mapping[str, Any]]] = [
        (Origin.FLAG, {name: value for name, value in flags.items() if value is not None}),
        (Origin.ENVIRONMENT, _from_environment(environment)),
        (Origin.FILE, in_file),
    ]
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, Origin.DEFAULT)
    for origin, source in reversed(sources):
        values.update(source)
        origins.update(dict.fromkeys(source, origin))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _refused(error, values, origins, path) from error
    return Configuration(settings, origins, path)


def _refused(error: ValidationError, values: Mapping[str, Any], origins: Mapping[str, Origin], path: str) -> UsageError:
    """What is wrong with the first setting that is wrong: its name, value, where that came from, what is allowed."""
    problem = error.errors()[0]
    name = str(problem["loc"][0])
    source = _source(name, origins.get(name, Origin.FILE), path)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, 1)
        hint = f"did you mean {near[0]!r}?" if near else "flamebus config show lists all"
        return UsageError(f"there is no setting {name!r} (from {source}); {hint}")
    value = "" if name in _SECRETS else f" may not be {values.get(name)!r}"
    allowed = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "it has to be")
    return UsageError(f"setting {name!r}{value} (from {source}): {allowed}")


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """What to say of each variable that looks like a setting and is none, with the one that may have been meant."""
    known = [name.upper() for name in Settings.model_fields] + sorted(_OTHER_VARIABLES)
    result = []
    for variable in sorted(environment):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if variable.startswith(ENVIRONMENT_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {ENVIRONMENT_PREFIX}{near[0]}?" if near else ""
            result.append(f"{variable} is no setting{hint}")
    return result


_OTHER_VARIABLES = frozenset({"CONFIG", "REQUIRE", "TEST_SERVERS", "CHAOS_SEED"})


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    names = {ENVIRONMENT_PREFIX + name.upper(): name for name in Settings.model_fields}
    return {names[key]: value for key, value in environment.items() if key in names}


def _from_file(file: Path | None, environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The file's name, empty when there is none, and what it says."""
    named = file or (Path(environment["FLAMEBUS_CONFIG"]) if environment.get("FLAMEBUS_CONFIG") else None)
    path = named or Path("flamebus.toml")
    if named is None and not path.exists():
        return "", {}
    try:
        with path.open("rb") as stream:
            values = tomllib.load(stream)
    except OSError as error:
        raise UsageError(f"cannot read settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"settings file {path} is not TOML: {error}") from error
    for name in _DURATIONS & values.keys():
        if not isinstance(values[name], str):
            raise UsageError(f'setting {name!r} (from {path}): write a duration with its unit, such as "10s"')
    return str(path), values
