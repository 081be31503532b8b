"""The journal: what outlives the process."""
