"""The routes, one module a subject; each exports `ROUTES`."""
