"""Entry points that run as jobs: each parses its options, connects to where the work is done, and reports."""
