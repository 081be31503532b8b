"""How much this client costs, beside the alternatives, in one run: ``python -m benchmarks``."""
