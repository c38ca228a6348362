"""Conversions that are killed at random, and works whose system calls fail at random: each must end with the bytes of
one that was left alone, and each run that fails must say why.

python -m tests.faults --kills 100 --errors 200    # in processes and on Ray, with folders and with an object store
"""
