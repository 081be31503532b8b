"""Sockets, behind a seam of four methods."""

from runware_ws.transport.base import Dial, NotSent, Transport, TransportLost
from runware_ws.transport.websocket import dial

__all__ = ["Dial", "NotSent", "Transport", "TransportLost", "dial"]
