"""Other releases of the image: its file system with another version, and where a test wants it with a fault.

A fault is one of the release: a file of its own in that release's file system, not a switch in the product.
"""

from pathlib import Path
from typing import Final

from tests.integration.stack import image

SHELL: Final = "app/core/middleware.py"
SERVES: Final = "            if await self._serve(exchange) and self.express:\n"
# Nothing is learnt by the express counter, or what is kept would never fail.
BREAKS: Final = """            self.express = None
            from app.fault import befall
            await befall(exchange.scope)
"""
HEAD: Final = '''"""A fault of this release; within what it measures of itself, as most faults are."""
import asyncio, itertools
numbers = itertools.count(1)
async def befall(scope):
    if scope["path"].startswith("/api/"):
        await fault()
'''
FAULTS: Final = {
    "failing": """async def fault():
    if next(numbers) % 3 == 0:
        raise RuntimeError("this release fails")
""",
    "slow": """async def fault():
    await asyncio.sleep(1.5)
""",
}

COLUMN: Final = '''"""What a later release may bring: a column."""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "9000", "{newest}", None, None
def upgrade():
    op.add_column("loans", sa.Column("shelf", sa.Text(), nullable=True))
def downgrade():
    op.drop_column("loans", "shelf")
'''
INDEX: Final = '''"""What a later release may bring: an index, built as ADR 6 says."""
from alembic import op
revision, down_revision, branch_labels, depends_on = "9001", "9000", None, None
def upgrade():
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("ix_loans_shelf", "loans", ["shelf", "due_at"])
        return
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_loans_shelf")
        op.create_index("ix_loans_shelf", "loans", ["shelf", "due_at"], postgresql_concurrently=True)
        op.execute("SET lock_timeout = '200ms'")
def downgrade():
    op.drop_index("ix_loans_shelf", table_name="loans")
'''


def make(version: str, fault: str = "") -> tuple[str, Path]:
    """A container of the image that says this version of itself; returns it and its file system."""
    container, root = image.mounted()
    service = root / "srv" / "library"
    _rewrite(service, "app/__init__.py", '__version__ = "0.1.0"', f'__version__ = "{version}"')
    if fault:
        (service / "app" / "fault.py").write_text(HEAD + FAULTS[fault])
        _rewrite(service, SHELL, SERVES, BREAKS + SERVES)
    return container, root


def widen(root: Path) -> None:
    """Give the release a schema of its own."""
    versions = root / "srv" / "library" / "alembic" / "versions"
    newest = max(path.name[:4] for path in versions.glob("[0-9]*_*.py"))
    (versions / "9000_shelf.py").write_text(COLUMN.replace("{newest}", newest))
    (versions / "9001_shelf_index.py").write_text(INDEX)


def _rewrite(service: Path, name: str, old: str, new: str) -> None:
    path = service / name
    text = path.read_text()
    assert text.count(old) == 1, f"{name} is not as it was"
    path.write_text(text.replace(old, new))
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()  # the image's never look at their source again
