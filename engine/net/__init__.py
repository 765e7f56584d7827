"""Fetching from the web, guarded against server-side request forgery."""
