"""Metadata: sets fields of the document's own, from the flow or from what an Extractor read."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from engine.custom_fields import FieldType, checked_name, parse_fields, type_of
from engine.errors import InvalidInput
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from ingestion.services import IngestionRun


class Metadata(Component[IngestionRun]):
    """Fields that searches can filter by; what people set of a document stays as it is."""

    type = "Metadata"
    reads = frozenset({"text"})
    reads_by_id = True
    writes = frozenset({"metadata"})
    checkpoint = False  # pure and quick
    weight = 0.1

    class Param(ComponentParam):
        """`fields` are set as they are; `from_extracted` names, by field, what an Extractor wrote.

        The ending of a field's name is its type: `team_keyword`, `price_float`, `signed_date`.
        """

        fields: dict[str, Any] = Field(default_factory=dict)
        from_extracted: dict[str, str] = Field(default_factory=dict)

        @field_validator("fields")
        @classmethod
        def _of_their_types(cls, given: dict[str, Any]) -> dict[str, Any]:
            try:
                return {name: value for name, value in parse_fields(given).items() if value}
            except InvalidInput as error:
                raise ValueError(str(error)) from None

        @model_validator(mode="after")
        def _sets_something(self) -> Metadata.Param:
            if not self.fields and not self.from_extracted:
                raise ValueError("nothing is set: give fields or from_extracted")
            try:
                for name in self.from_extracted:
                    checked_name(name)
            except InvalidInput as error:
                raise ValueError(str(error)) from None
            return self

    param: Param

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        extracted: dict[str, Any] = {}
        for output in inputs.by_id.values():
            extracted |= output.get("extracted", {})
        found = dict(self.param.fields)
        for name, key in self.param.from_extracted.items():
            try:
                found |= parse_fields({name: _shaped(name, extracted.get(key))})
            except InvalidInput as error:
                context.services.remarks.append(f"no {error}")
        found = {name: value for name, value in found.items() if value is not None}
        context.progress(self.id, 0.9, ", ".join(found) or "nothing to set")
        return {"metadata": found}


def _shaped(name: str, value: object) -> object:
    """What a model wrote, as the field takes it: lists only where a field holds several."""
    if isinstance(value, dict) and type_of(name) is not FieldType.FEATURES:
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, list) and type_of(name) is not FieldType.KEYWORD:
        return ", ".join(str(item) for item in value)
    return value
