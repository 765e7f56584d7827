"""The pipeline of a knowledge base as one upload wants it. Pure; `PipelineGraphs` calls it.

What an upload asks for becomes part of the flow itself, so that runs, checkpoints, progress and logs
know it as they know any other component.
"""

from __future__ import annotations

from typing import Any

from engine.documents.upload_options import ExtractionStrategy, UploadOptions
from engine.flow.dsl import Dsl, load_dsl
from engine.flow.pipeline import complete_pipeline, insert_stage

EVERYTHING = dict.fromkeys(("asides", "code_blocks", "formatting", "images", "tables"), True)
# What is a fault in any document; more than that is for a pipeline to say.
CHECKS = {"min_length": 20, "code_syntax": True, "on_fault": "flag"}


def pipeline_for(dsl: Dsl, options: UploadOptions) -> Dsl:
    """`dsl`, which loads, completed and with what `options` ask for.

    A pipeline's own QualityControl stays as it is, and alone.
    """
    _, flow = load_dsl(complete_pipeline(dsl))
    if options.extraction_strategy is ExtractionStrategy.COMPREHENSIVE:
        flow = {**flow, "components": [_taking_all(item) for item in flow["components"]]}
    types = {item["type"] for item in flow["components"]}
    if options.quality_control and "QualityControl" not in types:
        return insert_stage(flow, "QualityControl", before="Tokenizer", param=CHECKS)
    return flow


def _taking_all(component: dict[str, Any]) -> dict[str, Any]:
    if component["type"] != "Parser":
        return component
    return {**component, "param": {**component.get("param", {}), **EVERYTHING}}
