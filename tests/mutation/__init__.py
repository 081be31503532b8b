"""Mutants of the client: each is one small bug, and something must notice it.

``python -m tests.mutation`` plants each of them in a copy of the package and runs what is to
notice it: 300 seeds of the simulation, or one named test. One that nobody notices shows a test
that is missing. ``mutants.py`` says what a mutant is.
"""
