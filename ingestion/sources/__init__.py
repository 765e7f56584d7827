"""Where chat history comes from: exports that people upload, and the platforms themselves."""
