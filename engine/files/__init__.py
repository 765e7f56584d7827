"""The tree of folders and files, and the documents made of its files."""
