"""Fuzzing of everything that reads foreign bytes: `python -m tests.fuzz`, and a short run in `make test`."""
