"""What is told of a candidate, and what is not."""

from medseg.io.verdict import Candidate


def test_a_candidate_as_json_keeps_free_text_out() -> None:
    candidate = Candidate("DICOM series", shape=(2, 3, 4), description="Mr Smith", verdict="missing slice")
    assert candidate.as_json()["shape"] == [2, 3, 4]
    assert candidate.as_json()["readable"] is False
    assert "Smith" not in str(candidate.as_json())
