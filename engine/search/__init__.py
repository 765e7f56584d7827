"""A query's way: analyse, filter, search, fuse, join with SQL, rerank; and reading on from a hit."""
