"""Conversions that are killed at random, again and again, and must end with the bytes of one that was left alone.

python -m tests.faults --rounds 100                # processes of one machine
python -m tests.faults --rounds 100 --runner ray   # tasks of a Ray, and Ray's own processes
"""
