"""Durable work: the outbox that accepts it, and claims with a lease."""
