"""Batches of a split, on the host and on the device."""
