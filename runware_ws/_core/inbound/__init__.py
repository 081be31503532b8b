"""What the server says, and which task it speaks of."""
