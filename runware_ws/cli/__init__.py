"""The ``runware-ws`` command.

Exit codes:

* 0: every line has a result (``run``); nothing lost, doubled or wrong (``demo``); all that was
  asked for was kept (``load``)
* 1: some lines ended with an error; the demo found a fault; the load did not keep a condition, or
  its generator was too slow
* 2: wrong usage, bad input, or an output that cannot be written
* 3: the server refuses the API key
* 4: the server cannot be reached
* 130: ended by Ctrl-C (SIGINT)
* 143: ended by SIGTERM
"""

from __future__ import annotations

import errno
import sys

__all__ = ["main"]

_EXTRA = ("typer", "rich")
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def main() -> None:
    """Run the command line and exit."""
    try:
        from runware_ws.cli.app import run_app
    except ModuleNotFoundError as exc:
        # Only what the extra brings: a missing module of our own is a bug, and must be seen.
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            f"runware-ws: the command line needs {exc.name}: pip install 'runware-ws[cli]'\n"
        )
        sys.exit(2)
    try:
        run_app()
    except OSError as exc:
        # Nobody else lets such an error out: what is written to files says which one it was.
        if exc.errno not in _NO_ROOM or exc.filename is not None:
            raise
        from runware_ws.cli.exits import ExitCode, abandon_stdout

        sys.stderr.write(
            f"runware-ws: standard output: cannot be written: {exc.strerror}: make room\n"
        )
        abandon_stdout()
        sys.exit(ExitCode.USAGE)
