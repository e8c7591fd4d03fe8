"""The server of a fault run: the command line as it is, with its system calls watched.

    python -m tests.simulation.faulted_server SUPERVISOR BUG COMMAND…

COMMAND is `… -m dohost serve …`, as `server_process` makes it; BUG the name of a planted bug, or `-`. Logs are
copied into their files at 40 pages instead of a thousand: the same rule, met often.
"""

from __future__ import annotations

import sys

from dohost.cli import main as command_line
from dohost.runtime import checkpoints
from tests.simulation.planted_bugs import plant
from tests.simulation.system_calls import install


def main(arguments: list[str]) -> None:
    """Run COMMAND in this process."""
    supervisor, bug, *command = arguments
    checkpoints.WAL_PAGES_MAX = 40
    if bug != "-":
        plant(bug)
    sys.argv = ["dohost", *command[command.index("dohost") + 1 :]]
    install(supervisor)
    command_line()


if __name__ == "__main__":
    main(sys.argv[1:])
