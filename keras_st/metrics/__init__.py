"""Scores: a NumPy function and a streaming metric each."""
