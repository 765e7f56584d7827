"""The MCP door: tools for IDE assistants and ChatGPT."""
