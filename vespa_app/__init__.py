"""The Vespa application package, rendered from the tenant registry."""
