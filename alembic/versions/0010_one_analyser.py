"""One analyser: an index in our own lexemes, a dictionary for misspelt words, popularity, more of each record.

Revision: 0010
Revises: 0001

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short. Before the first release the old index goes in the same step;
`library catalog reindex` fills the new one for books that are already there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0001"
branch_labels = None
depends_on = None

NEW_MEMBERS = '"sort_title":null,"alternative_titles":[],"original_script":[],"edition":null,'


def upgrade() -> None:
    op.create_table(
        "search_words",
        sa.Column("word", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("word", name=op.f("pk_search_words")),
    )
    op.add_column("books", sa.Column("popularity", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_books_popularity_id", "books", ["popularity", "id"], unique=False)
    # A quotation mark inside a JSON text is escaped, so this can only be the member itself.
    op.execute(
        sa.text(
            "UPDATE books SET document = replace(document, '\"subtitle\":', :members) WHERE document NOT LIKE :done"
        ).bindparams(members=NEW_MEMBERS + '"subtitle":', done='%"sort_title":%')
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX ix_books_search_terms")
        op.execute(
            "CREATE TABLE book_terms (book_id bigint CONSTRAINT pk_book_terms PRIMARY KEY"
            " CONSTRAINT fk_book_terms_book_id_books REFERENCES books (id) ON DELETE CASCADE, vector tsvector NOT NULL)"
        )
        # A short list of entries still to be sorted in: a search reads it whole.
        op.execute(
            "CREATE INDEX ix_book_terms_vector ON book_terms USING gin (vector) WITH (gin_pending_list_limit = 512)"
        )
        return
    for trigger in ("insert", "delete", "update"):
        op.execute(f"DROP TRIGGER books_fts_{trigger}")
    op.execute("DROP TABLE books_fts")
    # The tokenizer splits at spaces and nothing else: everything beyond ASCII is a letter to it, and the signs named
    # are ours.
    op.execute("CREATE VIRTUAL TABLE book_terms USING fts5(terms, tokenize=\"ascii tokenchars '=@|'\", prefix='2 3')")
    op.execute(
        "CREATE TRIGGER book_terms_delete AFTER DELETE ON books BEGIN DELETE FROM book_terms WHERE rowid = old.id; END"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TABLE book_terms")
        op.execute("CREATE INDEX ix_books_search_terms ON books USING gin (to_tsvector('simple', search_terms))")
    else:
        op.execute("DROP TRIGGER book_terms_delete")
        op.execute("DROP TABLE book_terms")
        op.execute(
            "CREATE VIRTUAL TABLE books_fts USING fts5(search_terms, content='books', content_rowid='id',"
            " tokenize='unicode61 remove_diacritics 0', prefix='2 3')"
        )
        add = "INSERT INTO books_fts(rowid, search_terms) VALUES (new.id, new.search_terms);"
        drop = "INSERT INTO books_fts(books_fts, rowid, search_terms) VALUES ('delete', old.id, old.search_terms);"
        op.execute(f"CREATE TRIGGER books_fts_insert AFTER INSERT ON books BEGIN {add} END")
        op.execute(f"CREATE TRIGGER books_fts_delete AFTER DELETE ON books BEGIN {drop} END")
        op.execute(f"CREATE TRIGGER books_fts_update AFTER UPDATE OF search_terms ON books BEGIN {drop} {add} END")
        op.execute("INSERT INTO books_fts(books_fts) VALUES ('rebuild')")
    op.drop_index("ix_books_popularity_id", "books")
    op.drop_column("books", "popularity")
    op.drop_table("search_words")
