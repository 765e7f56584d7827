"""Knowledge bases, documents, their revisions and pipelines: what ingestion writes."""
