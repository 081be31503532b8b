"""Performs the core's effects: sockets, HTTP, the key, events, wake-ups. It decides nothing."""
