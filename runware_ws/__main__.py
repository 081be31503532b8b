"""``python -m runware_ws``: the same as the ``runware-ws`` command."""

from __future__ import annotations

from runware_ws.cli import main

if __name__ == "__main__":
    main()
