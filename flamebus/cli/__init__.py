"""The command line: one module per verb, imported only when its verb runs."""

import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from flamebus.errors import FlamebusError

VERBS = {
    "agent": ("agent", "Profile this host and publish its samples."),
    "config": ("config", "Show the settings and where each value came from."),
    "demo": ("demo", "Run everything on this machine with the embedded bus."),
    "dlq": ("dlq", "Look at dead letters and publish them again."),
    "doctor": ("doctor", "Check what this host offers and what is missing."),
    "down": ("stack", "Stop the stack that up started."),
    "flamegraph": ("flamegraph", "Write a flame graph as text, JSON, folded or SVG."),
    "import": ("import_", "Publish profiles from elsewhere: folded, perf script, pprof."),
    "record": ("record", "Save batches from the bus to a file."),
    "replay": ("replay", "Publish recorded batches again."),
    "serve": ("serve", "Serve the HTTP API and the page."),
    "status": ("stack", "Show what up has started."),
    "store": ("store", "Compact the store and drop what is past its retention."),
    "stream": ("stream", "Run a stream worker."),
    "top": ("top", "Show the hottest functions."),
    "topics": ("topics", "List, create and describe the topics."),
    "up": ("stack", "Start the whole stack on real Kafka and InfluxDB."),
}
"""Verb → module in this folder and its line of help. A module has ``register(app, verb)``, which adds the verb."""


EXIT_INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended."""


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """The command line for these arguments: only the verb among them is imported, so ``top`` never pays for Faust."""
    app = typer.Typer(
        name="flamebus",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,  # the pretty ones print local variables, and so tokens
    )
    app.callback()(_root)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for verb, (module, text) in VERBS.items():
        if verb == wanted:
            import_module(f"flamebus.cli.{module}").register(app, verb)
        else:
            app.command(verb, help=text)(_root)
    return app


def _root() -> None:
    """Always-on, fleet-wide profiling whose data travels on a message bus."""


def main() -> None:
    """Run a verb; an error of ours becomes one line on standard error and its exit code."""
    try:
        from flamebus.own import check_siblings

        check_siblings()
        build_app(sys.argv[1:])(prog_name="flamebus")
    except FlamebusError as error:
        sys.stderr.write(f"flamebus: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:  # the machine's answer, such as a full disk behind standard output
        sys.stderr.write(f"flamebus: {error.filename or 'failed'}: {error.strerror or error}\n")
        sys.exit(FlamebusError.exit_code)
    except KeyboardInterrupt:  # while Python reads the modules; once a verb runs, it is the verb's to answer
        sys.exit(EXIT_INTERRUPTED)
