"""MARC 21: bytes to records, records to books and back."""
