"""The HTTP door: REST, pages, health."""
