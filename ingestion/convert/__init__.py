"""Bytes of a file become text with structure; a leaf that imports nothing else of Scrubjay.

`document.py` holds the values, `formats.py` the closed list of formats and `convert()`, one module
a format does the reading. Everything here runs on untrusted bytes, inside the child processes of
`ingestion/parsing.py`. This module stays empty so that the values load without the converters.
"""
