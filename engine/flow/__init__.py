"""The graph engine that pipelines and workflows run on."""
