"""Secrets that a verb needs: typed unseen at a terminal, else a line each of standard input; never an argument."""

from __future__ import annotations

import sys

import click


def password(of: str = "", *, new: bool = True) -> str:
    """A password; a new one is typed twice at a terminal."""
    return _typed(f"Password of {of}" if of else "Password", new)


def code() -> str:
    """A code of the second factor."""
    return _typed("Code of the second factor", False)


def _typed(what: str, twice: bool) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))
    return sys.stdin.readline().rstrip("\n")
