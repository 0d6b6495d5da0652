"""Losses, schedules and what happens around an epoch."""
