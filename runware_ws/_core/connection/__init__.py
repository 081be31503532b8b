"""The one connection: when to dial, whether the peer is there. It knows no task."""
