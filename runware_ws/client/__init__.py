"""The public verbs: a client, its handles, maps and streams."""
