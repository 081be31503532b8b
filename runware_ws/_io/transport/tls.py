"""TLS settings that all connections share, and what a handshake that failed means.

The system's trust store takes about 20 ms to read, which would hold up the event loop at every
dial. So it is read once per process, in a thread.
"""

from __future__ import annotations

import ssl
from threading import Lock

from anyio import to_thread

__all__ = ["default_context", "tls_refusal"]

_ABOUT_US = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)
"""Alerts of a peer that wants a certificate of ours, or another one."""

_NOT_IN_COMMON = frozenset(
    {
        "NO_CIPHERS_AVAILABLE",
        "NO_PROTOCOLS_AVAILABLE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_UNRECOGNIZED_NAME",
        "UNSUPPORTED_PROTOCOL",
    }
)
"""Alerts, and findings of our own, that tell that the two sides can never agree."""

_LOCK = Lock()
_made: list[ssl.SSLContext] = []


async def default_context() -> ssl.SSLContext:
    """The default settings: the system's trust store, verification on."""
    return _made[0] if _made else await to_thread.run_sync(_make)


def _make() -> ssl.SSLContext:
    with _LOCK:
        if not _made:
            _made.append(ssl.create_default_context())
        return _made[0]


def tls_refusal(exc: BaseException | None) -> str | None:
    """Why this, or what caused it, is the end of a TLS connection that no other dial can open.

    In TLS 1.3 our side of the handshake is over before the peer has seen our certificate. So its
    alert may come when the first answer is read.
    """
    while exc is not None and not isinstance(exc, ssl.SSLError):
        exc = exc.__cause__
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message or str(exc)
    if exc is None or exc.reason not in _ABOUT_US | _NOT_IN_COMMON:
        return None
    cure = " (a certificate of your own belongs into ssl=)" if exc.reason in _ABOUT_US else ""
    return f"{exc}{cure}"
