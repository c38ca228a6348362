"""From a source to finished splits."""
