"""Who may see what: principals, audiences, the tokens they hold, and the one gate that uses them."""
