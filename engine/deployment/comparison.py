"""One installation held against one description: what every kind of thing is compared with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.deployment.changes import Change
from engine.deployment.described import Deployment
from engine.domain import Principal
from engine.engine import Engine

CheckPipeline = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One installation held against one description."""

    engine: Engine
    principal: Principal
    principal_now: Callable[[], Awaitable[Principal]]  # what one change grants, the next may use
    wanted: Deployment
    folder: Path  # that the description's files are beside
    check_pipeline: CheckPipeline
    prune: bool = False
    unnamed: list[tuple[str, str]] = field(default_factory=list)

    def later(
        self, verb: Callable[..., Awaitable[object]], *given: object, **named: object
    ) -> Callable[[], Awaitable[object]]:
        """A call of one of the engine's verbs, made when its change is."""

        async def call() -> object:
            return await verb(await self.principal_now(), *given, **named)

        return call

    def left_over(
        self, kind: str, names: Sequence[str], remove: Callable[..., Awaitable[object]]
    ) -> Iterator[Change]:
        """Removals of what the file does not name; without `prune` it is only said."""
        for name in names:
            if self.prune:
                yield Change("remove", kind, name, self.later(remove, name))
            else:
                self.unnamed.append((kind, name))
