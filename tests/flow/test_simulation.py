"""Random histories against a model; see simulation.py. More of them: ISTHMUS_SEEDS=5000."""

import os

import pytest
from simulation import quiet, run

SEEDS = int(os.environ.get("ISTHMUS_SEEDS", "300"))
PARTS = 10


@pytest.mark.timeout(max(120, SEEDS))
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens(part):
    with quiet():
        for seed in range(part, SEEDS, PARTS):
            wrong = run(seed)
            assert wrong == [], f"seed {seed}: python tests/flow/simulation.py --first {seed} --seeds 1"


@pytest.mark.parametrize("seed", [5124])
def test_what_once_went_wrong(seed):
    """5124: discarded deliveries kept a full memory from reading on."""
    with quiet():
        assert run(seed) == []
