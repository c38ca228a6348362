"""Compiled: from a stored sample to its place in the batch. No torch, no dataset."""
