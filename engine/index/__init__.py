"""The search index: the port, text analysis, and the adapters."""
