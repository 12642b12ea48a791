"""Formats: what a file's bytes say, as records to take in, and books as bytes to give out."""
