"""The Discord adapter: Discord's payloads in, its Markdown and components out."""
