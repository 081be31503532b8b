"""Sockets, behind a seam of five methods."""

from runware_ws._io.transport.base import Dial, HttpPost, NotSent, Transport, TransportLost
from runware_ws._io.transport.websocket import dial

__all__ = ["Dial", "HttpPost", "NotSent", "Transport", "TransportLost", "dial"]
