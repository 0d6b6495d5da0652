"""Recurrent cells over maps and what runs them."""
