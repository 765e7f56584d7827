"""Plain text and Markdown: sentences, quotes, figures and addresses. Pure; knows nothing else."""
