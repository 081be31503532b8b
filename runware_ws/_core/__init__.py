"""The sans-I/O core: inputs with ``now`` in, effects out. Read ``core.py`` first."""
