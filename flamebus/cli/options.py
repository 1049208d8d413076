"""Options that several verbs share; all default to "not given", so that settings from elsewhere show through."""

from pathlib import Path
from typing import Annotated

import typer

BusOption = Annotated[str | None, typer.Option("--bus", help="kafka://host:port[,host:port…]", show_default=False)]
StoreOption = Annotated[str | None, typer.Option("--store", help="Directory or s3://bucket/prefix", show_default=False)]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of settings", show_default=False)]
PrefixOption = Annotated[str | None, typer.Option("--topic-prefix", help="Prefix of topics", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text")]
