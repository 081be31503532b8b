"""What the client cannot do yet, in one place: each switch goes when the client can."""

from __future__ import annotations

import inspect

from runware_ws import Client

__all__ = ["HTTP", "LAST_AS_FIELDS", "MAP_ENDS", "MAP_KEEPS", "TOOLS"]

HTTP = "post" in inspect.signature(Client.__init__).parameters
"""HTTP is under the core: streams are drawn on both carriers."""

TOOLS = True
"""Pieces of tool calls are part of a stream's whole, and of what is missing after a cut."""

LAST_AS_FIELDS = True
"""The last item of a stream may be no delta: a piece in the result's fields, or only the end."""

MAP_KEEPS = True
"""What had come when a ``map`` was left early can be claimed."""

MAP_ENDS = True
"""A ``map`` of an endless source ends on a client that is closed."""
