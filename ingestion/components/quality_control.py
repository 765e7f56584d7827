"""QualityControl: flags chunks that fall short, or leaves them out, and says why."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import anyio.to_thread
from pydantic import Field, model_validator

from engine.errors import DocumentError
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from ingestion.quality import Checks
from ingestion.services import IngestionRun

TOLD = 20  # chunks whose reasons the outcome names one by one


class QualityControl(Component[IngestionRun]):
    """Length, code syntax and technical terms of each chunk."""

    type = "QualityControl"
    reads = frozenset({"text", "chunks"})
    writes = frozenset({"chunks", "extracted", "quality"})
    checkpoint = False  # pure and quick
    weight = 0.3

    class Param(ComponentParam):
        """`on_fault`: `flag` keeps a chunk and notes the reasons on it, `reject` leaves it out.

        Lengths are characters. A chunk must name one of `technical_terms` where there are any.
        """

        min_length: int | None = Field(default=None, ge=1)
        max_length: int | None = Field(default=None, ge=1)
        code_syntax: bool = False
        technical_terms: list[str] = Field(default_factory=list, max_length=10_000)
        on_fault: Literal["flag", "reject"] = "flag"

        @model_validator(mode="after")
        def _checks_something(self) -> QualityControl.Param:
            least, most = self.min_length, self.max_length
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_length is {least} and max_length {most}")
            if least is None and most is None and not (self.code_syntax or self.technical_terms):
                raise ValueError(
                    "nothing is checked: set min_length, max_length, code_syntax or technical_terms"
                )
            return self

    param: Param

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        run = context.services
        rows = await run.unpack(inputs["chunks"])
        checked = await anyio.to_thread.run_sync(self._check, run.document.text, rows)
        faulty = [(number, reasons) for number, reasons in enumerate(checked) if reasons]
        rejects = self.param.on_fault == "reject"
        if rejects:
            kept = [row for row, reasons in zip(rows, checked, strict=True) if not reasons]
        else:
            kept = [
                {**row, "flags": [*row.get("flags", ()), *reasons]} if reasons else row
                for row, reasons in zip(rows, checked, strict=True)
            ]
        outcome = "rejected" if rejects else "flagged"
        if rejects and rows and not kept:
            raise DocumentError(
                f"{run.work.title}: QualityControl {self.id!r} rejected all {len(rows)} chunks, the"
                f" first because of: {'; '.join(checked[0])}. Loosen its checks, or use another"
                " pipeline for this document.",
                code="quality",
            )
        context.progress(self.id, 0.9, f"{outcome} {len(faulty)} of {len(rows)} chunks")
        if faulty:
            run.remarks.append(f"{len(faulty)} {outcome} by quality control")
        report: dict[str, Any] = {"checked": len(rows), outcome: len(faulty)}
        if faulty:
            report["reasons"] = dict(Counter(_kind(reason) for _, r in faulty for reason in r))
            report["chunks"] = [
                {"start": rows[number]["start"], "reasons": reasons}
                for number, reasons in faulty[:TOLD]
            ]
        return {
            "chunks": await run.pack(kept),
            "quality": report,
            "extracted": {"quality": report},
        }

    def _check(self, text: str, rows: list[dict[str, Any]]) -> list[list[str]]:
        checks = Checks(
            min_length=self.param.min_length,
            max_length=self.param.max_length,
            code_syntax=self.param.code_syntax,
            technical_terms=self.param.technical_terms,
        )
        return [checks.reasons(text[row["start"] : row["end"]]) for row in rows]


def _kind(reason: str) -> str:
    """What sort of reason it is: without the numbers of this chunk."""
    if "fewer than" in reason:
        return "too short"
    if "more than" in reason:
        return "too long"
    return "code syntax" if " code: " in reason else "no technical term"
