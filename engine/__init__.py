"""The product without a door: retrieval, documents, permissions, jobs and flows."""
