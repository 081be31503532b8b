"""How a task that went through a cut finds its answer. It knows no socket."""
