"""Files of tasks: what reads them, runs them and writes their answers."""
