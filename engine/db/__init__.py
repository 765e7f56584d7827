"""SQL metadata: the tables, sessions over SQLite and PostgreSQL, and the migrations."""
