"""What the server says, and which task it is about."""
