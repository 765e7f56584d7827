"""Mail: what is written to people, queued with its cause, and handed to a mail server."""
