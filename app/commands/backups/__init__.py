"""Backups: what is kept of the library outside its database, how it is brought back, and how that is tried out."""
