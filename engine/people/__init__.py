"""Tenants, members, API tokens, and who an identity provider's subject is."""
