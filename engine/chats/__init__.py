"""Workspaces, channels, messages, threads, and what a bot was asked and posted."""
