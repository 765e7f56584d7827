"""Embedders, rerankers and language models behind one port each."""
