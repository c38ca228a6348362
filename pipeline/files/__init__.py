"""Bytes at a path or a URL: whole, or not there."""
