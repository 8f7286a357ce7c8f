"""After a storm on a FHIR server, small ones here; larger ones: python tests/flow/fhir_storm.py."""

import pytest
from fhir_storm import WHAT, Storm, storm


@pytest.mark.parametrize("seed", range(6))
def test_after_a_storm_odoo_holds_what_the_server_holds(tmp_path, seed):
    told = storm(tmp_path, seed, changes=200, patients=15, appointments=30)
    assert told["how"] in WHAT and told["versions_told"] > 60, told
    assert told["changes"]["deleted"] and told["weather"]["lost"], told


def test_what_differs_is_seen(tmp_path, monkeypatch):
    """A change that the engine is never told of, and cannot find, is told by the comparison."""
    run_to_the_end = Storm.compare

    def compare(self):
        run_to_the_end(self)
        self.desk.server.changed = lambda *_: None
        someone = next(iter(self.desk.server.all("Patient").values()))
        self.desk.server.put({**someone, "telecom": [{"system": "phone", "value": "+1-555-0"}]})
        with pytest.raises(AssertionError, match="555-0"):
            run_to_the_end(self)

    monkeypatch.setattr(Storm, "compare", compare)
    storm(tmp_path, 1, changes=60, patients=5, appointments=10)
