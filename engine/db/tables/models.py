"""What embedding models made, kept so that no text is embedded twice."""

from __future__ import annotations

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from engine.db.tables.base import Base, Id


class Embedding(Base):
    """The embedding cache: also what an index is rebuilt from without the model."""

    __tablename__ = "embedding"
    tenant_id: Mapped[str] = mapped_column(Id, primary_key=True)
    space: Mapped[str] = mapped_column(String(40), primary_key=True)
    text_hash: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)  # BLAKE2b-128
    vector: Mapped[bytes] = mapped_column(LargeBinary)  # float32, little-endian
