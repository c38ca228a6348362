"""Baseline JPEGs, read and written by Numba: libjpeg-turbo's pixels and bytes, sooner. ITU-T T.81 is their definition.

    bytes -> decoder (codes by tables) -> coefficients -> pixels -> planes -> rows of RGB
    RGB -> forward -> coefficients -> encoder (codes) -> bytes

`codec` is all of it for Python.
"""
