"""The page about pipelines: its examples load, and its tables name what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

from engine.flow.registry import Registry
from engine.flow.templates import TEMPLATES
from ingestion.chunking import Strategy
from ingestion.components import COMPONENTS
from ingestion.pipelines import load_pipeline

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "pipelines.md").read_text(encoding="utf-8")
REGISTRY = Registry(COMPONENTS)


def test_every_example_loads() -> None:
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    assert len(examples) == 5
    for example in examples:
        if "components" in example:
            assert load_pipeline(example, REGISTRY)
        else:
            component = REGISTRY.get(example["type"])
            assert component is not None
            component.Param.model_validate(example.get("param", {}))


def test_its_tables_name_every_template_and_strategy() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) - {"field_name"}
    assert sorted(rows) == sorted([*TEMPLATES, *get_args(Strategy)])
