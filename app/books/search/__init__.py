"""Search: one analyser in Python writes what is indexed and reads the query; the databases only hold the index."""

from app.books.search.analyser import MAX_KEY_CHARACTERS, fold, key

__all__ = ["MAX_KEY_CHARACTERS", "fold", "key"]
