"""Cataloguing: adding and mending books so that nobody's change is lost, removing them, making two into one."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response

from app.api.deps import CatalogueEditor, CurrentStorage, RowId
from app.api.v1.endpoints.books import delete_book
from app.api.v1.endpoints.uploads import upload_file
from app.books import identifiers, queries
from app.books import service as books
from app.books.schemas import BookCreate, BookRead
from app.core.errors import AppError
from app.core.versioning import VersionChanged
from app.imports import lookup
from app.loans import service as loans
from app.uploads.models import Kind
from app.uploads.schemas import UploadQuery
from app.web import forms
from app.web.catalogue import read, shown
from app.web.forms import Mistakes
from app.web.page import Page, View, whole

router = APIRouter()

_LINES: Final = ("title", "subtitle", "edition", "publisher", "place", "year", "physical_description", "summary")
_KEPT: Final = ("sort_title", "date", "alternative_titles", "original_script")


@router.get("/cataloguing")
async def start(page: Page, who: CatalogueEditor, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Where cataloguing begins: an ISBN or a title, to add or to mend."""
    del who
    async with page.database.reading() as session:
        found = await queries.suggest(session, q) if q.strip() else []
    return page.show("cataloguing.html", q=q, found=found, isbn=identifiers.isbn_in(q) or "")


@router.get("/cataloguing/new")
async def ask(page: Page, who: CatalogueEditor, isbn: Annotated[str, Query(max_length=32)] = "") -> Response:
    """An empty form; an ISBN that was scanned stands in it, and what a provider knows of its book."""
    del who
    typed, provider, problem = {"isbns": isbn, "languages": "eng"}, "", None
    asked = identifiers.isbn_in(isbn)
    if asked and page.settings.isbn_lookup_urls:
        try:
            found = await lookup.by_isbn(page.settings, asked)
        except lookup.LookupFailed as error:
            found, problem = None, page.words.refusal(error)
        if found is not None:
            typed, provider = _typed(found[0]), found[1]
    return page.show("book_form.html", typed=typed, book=None, version=0, current=None, problem=problem, errors={},
                     provider=provider, is_unknown=bool(asked) and not (provider or problem))  # fmt: skip


@router.post("/cataloguing/new")
async def add(page: Page, who: CatalogueEditor) -> Response:
    """Add a book."""
    del who
    try:
        data = forms.read(BookCreate, _values(page), page.words)
        async with page.changing() as session:
            book = await books.add(session, data=data, now=page.now)
            return page.go(f"/cataloguing/{book.id}/copies", "added")
    except Mistakes as mistakes:
        return page.refuse("book_form.html", mistakes.errors, book=None, version=0, current=None)
    except AppError as error:
        return page.refuse("book_form.html", error, book=None, version=0, current=None)


@router.get("/cataloguing/duplicates")
async def duplicates(
    page: Page,
    who: CatalogueEditor,
    title: Annotated[str, Query(max_length=500)] = "",
    isbns: Annotated[str, Query(max_length=2_000)] = "",
) -> Response:
    """Books that this may be already, while it is being typed."""
    del who
    isbn = identifiers.isbn_in(isbns.split("\n")[0]) if isbns.strip() else None
    asked = isbn or title
    async with page.database.reading() as session:
        found = await queries.suggest(session, asked) if len(asked.strip()) > 3 else []  # noqa: PLR2004  # letters
    return page.show("duplicates.html", found=found[:5])


@router.get("/cataloguing/{book_id}")
async def edit(page: Page, who: CatalogueEditor, book_id: RowId) -> Response:
    """A book as it stands, to be mended."""
    del who
    book = await _book(page, book_id)
    return page.show("book_form.html", typed=_typed(book), book=book, version=book.version, current=None, problem=None,
                     errors={})  # fmt: skip


@router.post("/cataloguing/{book_id}")
async def save(page: Page, who: CatalogueEditor, book_id: RowId) -> Response:
    """Write what was mended, unless somebody else did so meanwhile: then both stand side by side."""
    del who
    book = await _book(page, book_id)
    version = page.number("version")
    try:
        data = forms.read(BookCreate, _values(page), page.words)
        changes = {name: value for name, value in data.model_dump().items() if name not in _KEPT}
        async with page.changing() as session:
            await books.change(session, book_id=book_id, changes=changes, if_match=frozenset({version}), now=page.now)
            return page.go(f"/books/{book_id}", "saved")
    except Mistakes as mistakes:
        return page.refuse("book_form.html", mistakes.errors, book=book, version=version, current=None)
    except VersionChanged as error:
        return page.refuse("book_form.html", error, book=book, version=book.version, current=_typed(book))
    except AppError as error:
        return page.refuse("book_form.html", error, book=book, version=version, current=None)


@router.post("/covers/{book_id}")
async def send_cover(page: Page, who: CatalogueEditor, book_id: RowId, storage: CurrentStorage) -> Response:
    """Give a book a picture of its cover; it is made anew, so that nothing but a picture is kept."""
    book = await _book(page, book_id)
    query = UploadQuery(kind=Kind.COVER, book_id=book_id)
    try:
        await upload_file(page.request, query, page.database, storage, page.settings, who, Response(), page.now)
    except AppError as error:
        return page.show("book_form.html", error.status, typed=_typed(book), book=book, version=book.version,
                         current=None, problem=page.words.refusal(error), errors={})  # fmt: skip
    return page.go(f"/books/{book_id}", "saved")


@router.post("/cataloguing/{book_id}/delete")
async def remove(page: Page, who: CatalogueEditor, book_id: RowId) -> Response:
    """Remove a book without copies; it can be restored for 30 days."""
    book = await _book(page, book_id)
    try:
        async with page.changing() as session:
            await delete_book(book_id, session, who, frozenset({book.version}), page.now)
            return page.go("/cataloguing", "removed")
    except AppError as error:
        return page.show("book_form.html", error.status, typed=_typed(book), book=book, version=book.version,
                         current=None, problem=page.words.refusal(error), errors={})  # fmt: skip


@router.get("/cataloguing/{book_id}/merge")
async def ask_to_merge(page: Page, who: CatalogueEditor, book_id: RowId, into: str = "") -> Response:
    """Two books side by side: which one is kept."""
    del who
    return await _two(page, book_id, into)


@router.post("/cataloguing/{book_id}/merge")
async def merge(page: Page, who: CatalogueEditor, book_id: RowId) -> Response:
    """Make them one: copies, bookings and loans move to the one that is kept."""
    del who
    into = page.text("into")
    try:
        async with page.changing() as session:
            target = whole(into)
            await loans.merge(session, source_id=book_id, target_id=target, context=await page.context(session))
            return page.go(f"/books/{target}", "merged")
    except AppError as error:
        return await _two(page, book_id, into, error=error)


async def _two(page: View, book_id: int, into: str, *, error: AppError | None = None) -> Response:
    facts: dict[str, Any] = {"into": into, "other": None, "found": []}
    async with page.database.reading() as session:
        row = await books.get(session, book_id=book_id, with_suppressed=True)
        facts["one"] = (await shown(session, page, [row]))[0]
        if whole(into) not in {0, book_id}:
            try:
                kept = await books.get(session, book_id=whole(into), with_suppressed=True)
                facts["other"] = (await shown(session, page, [kept]))[0]
            except AppError as refusal:
                error = error or refusal
        elif into:
            facts["found"] = [item for item in await queries.suggest(session, into) if item[0] != book_id]
    problem = page.words.refusal(error) if error else None
    return page.show("merge.html", error.status if error else 200, problem=problem, errors={}, **facts)


async def _book(page: View, book_id: int) -> BookRead:
    async with page.database.reading() as session:
        return read(await books.get(session, book_id=book_id, with_suppressed=True))


def _values(page: View) -> dict[str, Any]:
    """The form as the schema has it: many lines are lists, `name | role` is a contributor."""
    values: dict[str, Any] = {name: page.text(name) for name in _LINES}
    people = [line.partition("|") for line in _lines(page, "contributors")]
    values["contributors"] = [
        {"name": name.strip(), **({"role": role.strip()} if role.strip() else {})} for name, _, role in people
    ]
    values["languages"] = page.text("languages").replace(",", " ").split()
    values["identifiers"] = [{"type": "isbn", "value": line} for line in _lines(page, "isbns")]
    values["identifiers"] += [
        {"type": kind.strip().lower(), "value": value.strip()}
        for kind, _, value in (line.partition(" ") for line in _lines(page, "numbers"))
    ]
    values["classifications"] = [
        {"scheme": scheme.strip(), "value": value.strip()}
        for scheme, _, value in (line.partition(" ") for line in _lines(page, "classifications"))
    ]
    values["subjects"], values["series"] = _lines(page, "subjects"), _lines(page, "series")
    values["suppressed"] = bool(page.text("suppressed"))
    return values


def _lines(page: View, name: str) -> list[str]:
    return [line.strip() for line in page.text(name).splitlines() if line.strip()]


def _typed(book: BookRead | BookCreate) -> dict[str, str]:
    """A book as its form has it."""
    members = {name: str(getattr(book, name) or "") for name in _LINES}
    people = (f"{one.name} | {one.role}" if one.role != "author" else one.name for one in book.contributors)
    return members | {
        "contributors": "\n".join(people),
        "languages": " ".join(book.languages),
        "isbns": "\n".join(one.value for one in book.identifiers if one.type == "isbn"),
        "numbers": "\n".join(f"{one.type} {one.value}" for one in book.identifiers if one.type != "isbn"),
        "classifications": "\n".join(f"{one.scheme} {one.value}" for one in book.classifications),
        "subjects": "\n".join(book.subjects),
        "series": "\n".join(book.series),
        "suppressed": "true" if book.suppressed else "",
    }
