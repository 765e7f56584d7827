"""From bytes to index: broker, worker, actors, converters, chunking."""
