"""Looks at every image of a dataset; changes nothing but its statistics."""
