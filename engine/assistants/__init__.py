"""Assistants and search apps."""
