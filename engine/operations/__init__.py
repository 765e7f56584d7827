"""Status, probes, repair, backup, where a tenant's index is, and the log of tool calls."""
