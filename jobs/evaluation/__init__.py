"""The numbers of nets on a split."""
