"""Starts Isthmus: `python run_engine.py VERB` (installed also as `isthmus`)."""

from engine.cli import main

if __name__ == "__main__":
    main()
