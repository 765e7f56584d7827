from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.index.embedded import EmbeddedIndex
from tests.contracts.search_index import SearchIndexContract


class TestEmbeddedIndex(SearchIndexContract):
    @pytest.fixture
    async def index(self, tmp_path: Path) -> AsyncIterator[EmbeddedIndex]:  # type: ignore[override]
        index = EmbeddedIndex(tmp_path / "index", sync=False)
        yield index
        await index.aclose()

    @pytest.fixture
    async def reader(self, tmp_path: Path) -> AsyncIterator[EmbeddedIndex]:  # type: ignore[override]
        reader = EmbeddedIndex(tmp_path / "index", sync=False)
        yield reader
        await reader.aclose()
