"""One image to an answer, and the local page for it."""
