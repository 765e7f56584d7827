"""Connections to where documents come from: contract, scopes, items, permissions, credentials."""
