"""The ``runware-ws`` command.

Exit codes:

* 0: every line has a result (``run``); nothing lost, doubled or wrong (``demo``); all that was
  asked for was kept (``load``)
* 1: some lines ended with an error; the demo found a fault; the load did not keep a condition, had
  no answer, or its generator was too slow
* 2: wrong usage, bad input, or an output that cannot be written
* 3: the server refuses the API key
* 4: the server cannot be reached
* 130: ended by Ctrl-C (SIGINT)
* 143: ended by SIGTERM
"""

from __future__ import annotations

import errno
import os
import sys

from runware_ws.cli.exits import ExitCode, abandon_stdout, say

__all__ = ["main"]

_EXTRA = ("typer", "rich")
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def main() -> None:
    """Run the command line and exit."""
    if sys.stderr is None:  # Closed by whoever runs us; nobody wants to hear.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        _main()
    except KeyboardInterrupt:  # While modules are loaded: a command ends in its own way.
        sys.exit(ExitCode.INTERRUPTED)


def _main() -> None:
    try:
        from runware_ws.cli.app import run_app
    except ModuleNotFoundError as exc:
        # Only what the extra brings: a missing module of our own is a bug, and must be seen.
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        say(f"the command line needs {exc.name}: pip install 'runware-ws[cli]'")
        sys.exit(ExitCode.USAGE)
    try:
        run_app()
    except OSError as exc:
        # Nobody else lets such an error out: what is written to files says which one it was.
        if exc.errno not in _NO_ROOM or exc.filename is not None:
            raise
        say(f"standard output: cannot be written: {exc.strerror}: make room")
        abandon_stdout()
        sys.exit(ExitCode.USAGE)
