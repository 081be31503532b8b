"""The public API: a client, its handles, maps and streams."""
