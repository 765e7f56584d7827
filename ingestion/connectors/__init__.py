"""The kinds of sources that ship, one file a kind, and how they speak HTTP."""
