"""Tools that plugins bring: Python that models and workflows may call."""
