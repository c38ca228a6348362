"""Numbers to pages, charts and pictures. It computes none of the numbers."""
