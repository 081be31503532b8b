"""Every task: its record, its queue, its deadlines, its end."""
