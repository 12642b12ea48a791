"""Uploads: what is known of a cover or a document; the files themselves are in the storage, named by their digest."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, BigId, Document, UtcDateTime


class Kind(StrEnum):
    COVER = "cover"
    DOCUMENT = "document"


_COVERS: Final = text("kind = 'cover'")
_DOCUMENTS: Final = text("kind = 'document'")


class Upload(Base):
    """A cover is a book's, at most one, and everybody's to see; a document is its owner's.

    `digest` is that of the bytes as they came. `variants` are the stored files by name, with `file` their name in the
    storage. A cover outlives the account that brought it: `owner_id` is emptied.
    """

    __tablename__ = "uploads"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    owner_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(16))
    book_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("books.id"))
    file_name: Mapped[str] = mapped_column(String(200))
    media_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))
    variants: Mapped[dict[str, dict[str, Any]]] = mapped_column(Document)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint("kind IN ('cover', 'document')", name="kind"),
        CheckConstraint("(kind = 'cover') = (book_id IS NOT NULL)", name="book"),
        CheckConstraint("kind = 'cover' OR owner_id IS NOT NULL", name="owner"),
        Index("ix_uploads_owner_id_id", "owner_id", "id"),
        Index("uq_uploads_book_id", "book_id", unique=True, postgresql_where=_COVERS, sqlite_where=_COVERS),
        Index(
            "uq_uploads_owner_id_digest", "owner_id", "digest", unique=True,
            postgresql_where=_DOCUMENTS, sqlite_where=_DOCUMENTS,
        ),
    )  # fmt: skip

    @property
    def files(self) -> list[str]:
        return [variant["file"] for variant in self.variants.values()]
