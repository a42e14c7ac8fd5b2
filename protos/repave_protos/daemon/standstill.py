"""When a daemon counts as having stood still: stopped by SIGSTOP, or on a machine that swaps or sleeps."""

WATCH_SECONDS = 1.0
"""How often a daemon looks whether time has jumped."""
STANDSTILL_SECONDS = 5.0
"""A jump of more than that: what it knew, and what it was sent meanwhile, may hold no longer."""
