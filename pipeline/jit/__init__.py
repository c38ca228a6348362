"""Numba, LLVM and the symbols of C libraries: compiled code and what it is made with. No image, no file."""
