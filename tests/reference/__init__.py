"""Slow NumPy float64 witnesses, written from the published equations, not from our code."""
