"""Threads, processes, cores, signals and progress: how work runs on this machine. No data."""
