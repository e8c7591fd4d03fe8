"""The table of commands and what the process's exit code means.

0: fine. 1: the user's problem (configuration, code, a taken port). 2: usage. 3: ours. Commands are
imported when they are named, so that `dohost dev` pays for nothing else.
"""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import click

from dohost import __version__
from dohost.errors import CallerError, ConfigError, DataDirLocked, DohostError, UserCodeError

FINE, USER, USAGE, OURS = 0, 1, 2, 3
_INTERRUPTED = 130

# Name → (module, what `--help` says).
COMMANDS = {
    "init": ("dohost.cli.init", "Make a project that runs, with tests."),
    "dev": ("dohost.cli.dev", "Run a local server that reloads on each save."),
    "serve": ("dohost.cli.serve", "Serve on one machine in production."),
    "check": ("dohost.cli.check", "Say what would stop this source from running."),
    "types": ("dohost.cli.types", "Write types of `env` for editors and type checkers."),
    "objects": ("dohost.cli.objects", "List, look at, copy, back up and remove objects."),
    "sql": ("dohost.cli.sql", "Query one object's database, read-only."),
    "kv": ("dohost.cli.kv", "Read and write the keys of one object."),
    "alarm": ("dohost.cli.alarm", "Look at, set or run the alarm of one object."),
    "call": ("dohost.cli.call", "Call a method of one object."),
    "doctor": ("dohost.cli.doctor", "Verify the data and say what is wrong."),
    "catalog": ("dohost.cli.catalog", "Rebuild the catalog of objects from their files."),
    "path": ("dohost.cli.path", "Print the file of one object."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = _imported(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command), "each command module has a `command`"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _imported(name: str) -> ModuleType:
    """Import a command. Imports make no garbage, and looking for some takes a tenth of a start.

    What was imported stays: it is never looked through again, neither by the first collection afterwards
    (20 ms of a server's start) nor by those that would halt requests.
    """
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        module = import_module(name)
        gc.freeze()
        return module
    finally:
        gc.enable()


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: dohost dev --port 8080",
)
@click.version_option(__version__, prog_name="dohost")
def group() -> None:
    """Durable Objects in Python on ordinary CPython."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (None: this process's) and return its exit code."""
    try:
        outcome = group.main(arguments, prog_name="dohost", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except DohostError as error:
        return _fail(error)
    except Exception:  # noqa: BLE001 # the outermost boundary: a bug of ours gets its own exit code
        traceback.print_exc(file=sys.stderr)
        click.echo("This is a bug in dohost.", err=True)
        return OURS
    return outcome if isinstance(outcome, int) else FINE


def _fail(error: DohostError) -> int:
    from dohost.cli.console import print_config_error, print_error  # lazy: rich, on failure only

    if isinstance(error, ConfigError):
        print_config_error(error)
        return USER
    print_error(str(error))
    return USER if isinstance(error, CallerError | UserCodeError | DataDirLocked) else OURS
