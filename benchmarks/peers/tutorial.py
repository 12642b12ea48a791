"""FastAPI as its tutorials teach it: ORM entities, selectinload, OFFSET and COUNT, a response model."""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

app = FastAPI()
engine = create_async_engine(os.environ["BENCH_DATABASE"].replace("postgresql:", "postgresql+asyncpg:"), pool_size=8)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Point(Base):
    __tablename__ = "access_points"
    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("books.id"), primary_key=True)
    label: Mapped[str]


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    year: Mapped[int | None]
    version: Mapped[int]
    suppressed: Mapped[bool]
    popularity: Mapped[int]
    points: Mapped[list[Point]] = relationship()


class PointOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    kind: str
    label: str


class BookOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    title: str
    year: int | None
    version: int
    suppressed: bool
    popularity: int
    points: list[PointOut]


class Page(BaseModel):
    total: int
    items: list[BookOut]


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


@app.get("/bare")
async def bare() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/books")
async def books(db: Annotated[AsyncSession, Depends(session)], skip: int = 0, limit: int = 20) -> Page:
    total = await db.scalar(select(func.count()).select_from(Book))
    statement = select(Book).options(selectinload(Book.points)).order_by(Book.id.desc()).offset(skip).limit(limit)
    found = (await db.scalars(statement)).all()
    return Page(total=total or 0, items=[BookOut.model_validate(book) for book in found])
