"""The command line, and the host process that owns every lifespan."""
