"""``flamebus topics list|create|describe``: the topics of the contract beside what the broker keeps."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from flamebus.cli.bus import TopicAdmin, TopicState
from flamebus.cli.options import BusOption, ConfigOption, JsonOption, PrefixOption
from flamebus.config import Settings, load
from flamebus.errors import FlamebusError, UsageError
from flamebus.wire.topics import Topic, all_topics


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic of the contract; ``differences`` says where the broker's settings are not the contract's."""

    name: str
    title: str
    key: str
    value: str
    exists: bool
    partitions: int
    replication: int
    config: dict[str, str]
    differences: tuple[str, ...]


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb with its actions."""
    group = typer.Typer(name=verb, no_args_is_help=True)
    group.callback()(_topics)
    group.command("list")(list_topics)
    group.command("create")(create)
    group.command("describe")(describe)
    app.add_typer(group)


def _topics() -> None:
    """List, create and describe the topics."""


def list_topics(
    *,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every topic that flamebus needs, and whether the broker has it."""
    settings = load({"bus": bus, "topic_prefix": topic_prefix}, file=config).settings
    rows = _rows(settings, TopicAdmin(settings.bootstrap_servers))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        state = f"{row.partitions} partitions" if row.exists else "missing"
        typer.echo(f"{row.name:{width}}  {state:13}  {'; '.join(row.differences) or row.title}")


def create(
    *,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    partitions: Annotated[int | None, typer.Option(help="Partitions of new topics", show_default=False)] = None,
    replication: Annotated[int | None, typer.Option(help="Replicas of new topics", show_default=False)] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create the topics that are missing. One that exists with other settings is left alone and told; exit code 1."""
    flags = {"bus": bus, "topic_prefix": topic_prefix, "partitions": partitions, "replication": replication}
    settings = load(flags, file=config).settings
    admin = TopicAdmin(settings.bootstrap_servers)
    created = admin.create_missing(all_topics(), settings.topic_prefix, settings.partitions, settings.replication)
    rows = _rows(settings, admin)
    differing = [row for row in rows if row.differences]
    if as_json:
        typer.echo(json.dumps({"created": created, "topics": [asdict(row) for row in rows]}, indent=2))
    else:
        for row in rows:
            word = "created" if row.name in created else "differs" if row.differences else "exists"
            typer.echo(f"{row.name}  {word}  {'; '.join(row.differences)}".rstrip())
    if differing:
        names = ", ".join(row.name for row in differing)
        raise FlamebusError(
            f"these exist with other settings, and were left alone: {names}; change them with your tool"
        )


def describe(
    topic: Annotated[str, typer.Argument(help="Name, with or without the prefix")],
    *,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """One topic: what it holds, and how the broker keeps it."""
    settings = load({"bus": bus, "topic_prefix": topic_prefix}, file=config).settings
    prefix = settings.topic_prefix
    known = next((t for t in all_topics() if topic in {t.stem, t.name(prefix)}), None)
    if known is None:
        raise UsageError(f"no topic {topic!r} in the contract; there are {', '.join(t.stem for t in all_topics())}")
    name = known.name(prefix)
    row = _row(known, prefix, TopicAdmin(settings.bootstrap_servers).states([name]).get(name), settings)
    if as_json:
        typer.echo(json.dumps(asdict(row), indent=2))
        return
    typer.echo(f"{row.name}: {row.title}\nkey: {row.key}\nvalue: {row.value}")
    typer.echo(f"partitions: {row.partitions}, replicas: {row.replication}" if row.exists else "not on the broker")
    for key, value in row.config.items():
        typer.echo(f"{key} = {value}")
    for difference in row.differences:
        typer.echo(f"differs: {difference}")


def _rows(settings: Settings, admin: TopicAdmin) -> list[TopicRow]:
    prefix = settings.topic_prefix
    states = admin.states([topic.name(prefix) for topic in all_topics()])
    return [_row(topic, prefix, states.get(topic.name(prefix)), settings) for topic in all_topics()]


def _row(topic: Topic, prefix: str, state: TopicState | None, settings: Settings) -> TopicRow:
    wanted = topic.broker_config()
    config = {name: state.config.get(name, "") for name in wanted} if state else wanted
    differences = [f"{name} is {config[name]}, not {value}" for name, value in wanted.items() if config[name] != value]
    if state and state.partitions < settings.partitions:
        differences.append(f"{state.partitions} partitions, not {settings.partitions}")
    return TopicRow(
        name=topic.name(prefix),
        title=topic.title,
        key=topic.key,
        value=topic.value,
        exists=state is not None,
        partitions=state.partitions if state else 0,
        replication=state.replication if state else 0,
        config=config,
        differences=tuple(differences),
    )
