"""A logger that says nothing.

The frames of a socket carry the API key, and ``websockets`` logs frames at debug level.
"""

from __future__ import annotations

import logging

__all__ = ["QUIET"]

QUIET = logging.Logger("runware_ws.emulator.quiet", logging.CRITICAL + 1)
