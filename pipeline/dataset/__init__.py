"""A finished split on disk: its manifest, tables, index and statistics."""
