"""Measures Isthmus beside an honest floor on the same machine, in the same run: read the ratios.

Every part that is measured is a process of its own; nothing but 127.0.0.1 is ever loaded.
"""
