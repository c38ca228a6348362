"""Data that is drawn here."""
