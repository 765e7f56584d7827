"""Workflows: stored graphs that answer, ask people and act; their versions, runs and components.

`Engine.workflows` is a `Workflows` (workflows.py). The graph engine itself is `engine/flow`.
"""
