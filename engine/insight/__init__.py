"""What was asked and found: the numbers of days, and statistics over any range."""
