"""Chat bots: one core for every platform, a thin adapter each."""
