"""What performs the core's effects: sockets, HTTP, the key, events, wake-ups. Decides nothing."""
