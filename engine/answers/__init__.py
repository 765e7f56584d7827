"""A question's way: admissible turns, passages, a model or an extract, checked citations."""
