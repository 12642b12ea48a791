"""The shapes of uploads."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.core.pagination import MAX_ID
from app.core.schemas import Read, ShortLine, Strict
from app.uploads.models import Kind

Size = Literal["large", "medium", "thumb"]


class UploadQuery(Strict):
    """What is sent: a cover names its book, a document none."""

    kind: Annotated[Kind, Field(strict=False)]
    book_id: Annotated[int | None, Field(strict=False, ge=1, le=MAX_ID, description="Whose cover it is")] = None
    file_name: Annotated[ShortLine | None, Field(description="What to call it when it is downloaded")] = None


class VariantRead(Read):
    """A stored file: an image of that size, or the document itself."""

    name: str
    width: int | None
    height: int | None
    size_bytes: int


class UploadRead(Read):
    """`media_type` was found from the bytes; `size_bytes` and `digest` are those of what was sent."""

    id: UUID
    kind: Kind
    book_id: int | None
    file_name: str
    media_type: str
    size_bytes: int
    digest: str
    variants: list[VariantRead]
    created_at: datetime


class UploadPage(Read):
    items: list[UploadRead]
    next: str | None
