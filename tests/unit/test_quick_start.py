"""Verbs that only look at the store start without what building channels, Odoo or the console takes."""

import json
import subprocess
import sys

import pytest
from engine_process import ROOT

HEAVY = {"channels.build", "console", "fastapi", "jinja2", "pydantic", "twisted.internet.reactor"}


@pytest.mark.parametrize("verb", ["channel", "job", "messages", "people", "status"])
def test_what_is_not_needed_is_not_loaded(verb):
    code = f"import json, sys, engine.cli.{verb}; print(json.dumps(list(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert HEAVY & set(json.loads(loaded.stdout)) == set()
