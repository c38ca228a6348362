"""One image: its bytes to pixels and back."""
