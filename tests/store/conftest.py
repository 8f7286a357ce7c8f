import pytest
from store_bench import Bench


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("ISTHMUS_KEY_FILE", raising=False)
    return tmp_path / "data"


@pytest.fixture
def bench(folder):
    made = Bench(folder)
    yield made
    made.store.close()
