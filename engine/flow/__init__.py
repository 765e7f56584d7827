"""The graph engine that pipelines and workflows run on.

`parse_flow` (dsl.py) makes a checked `Graph` of a DSL and a `Registry`; `run_flow` (run.py) runs
it over `RunIds` and the host's services; `component.py` says how to write a component.
"""
