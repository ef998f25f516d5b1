"""Mutants of good files: each is read, or refused in one line by one kind of error, and soon.

About a minute in all; `tests/soak/soak_fuzz.py` goes on from there. A mutant that fails is shown as base64,
and can be made again by its number:

    python tests/soak/soak_fuzz.py --one dicom 1/172
"""

from pathlib import Path

import pytest
from bad_inputs.raster import tiff_loop
from fuzz.reading import Fuzzer, Tally
from fuzz.seeds import seeds

from medseg.errors import InputError
from medseg.io import inspect, read

RUN = 20261121
COUNTS = {"nifti": 6_000, "dicom": 1_500, "other": 1_500}
MOST_RESTARTS = 0.01  # of the decoder process, for each mutant: a crash is allowed there, but must stay rare


@pytest.mark.parametrize("family", COUNTS)
@pytest.mark.filterwarnings("ignore")  # a library's warning about a damaged file is no failure
def test_a_mutant_is_read_or_refused(tmp_path: Path, family: str, figures: list[str]) -> None:
    tally = Fuzzer(tmp_path, family, RUN).batch(range(COUNTS[family]))
    figures.append(f"{family} mutants, seed {RUN}: {told(tally)}")
    assert not tally.failures, f"{len(tally.failures)} failures\n" + "\n".join(tally.failures[:5])
    assert tally.restarts <= MOST_RESTARTS * COUNTS[family]
    assert tally.outcomes["InputError"] > COUNTS[family] / 10  # it damages what it should
    assert tally.outcomes["read"] > COUNTS[family] / 100  # and not everything


def told(tally: Tally) -> str:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in tally.outcomes.most_common())
    return f"{counts}; {tally.restarts} restarts, slowest {tally.slowest[0]:.2f} s"


@pytest.mark.parametrize("family", COUNTS)
def test_every_seed_is_read(tmp_path: Path, family: str) -> None:
    fuzzer = Fuzzer(tmp_path, family, RUN)
    for seed, place in zip(fuzzer.seeds, fuzzer.places, strict=True):
        (place / seed.place).write_bytes(seed.content)
        assert fuzzer.outcome(seed, place / seed.given) in {"read", "labels"}, seed.name


def test_a_mutant_is_the_same_in_every_run(tmp_path: Path) -> None:
    first, second = (Fuzzer(tmp_path / place, "dicom", RUN) for place in "ab")
    assert [first.make(n)[1] for n in range(100)] == [second.make(n)[1] for n in range(100)]
    changed = [first.make(n) for n in range(100)]
    assert sum(content != seed.content for seed, content in changed) > 80


def test_the_harness_sees_what_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fuzz import reading

    fuzzer = Fuzzer(tmp_path, "nifti", RUN)

    def broken(_path: Path) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(reading, "read", broken)
    tally = fuzzer.batch(range(3))
    assert set(tally.outcomes) == {"escaped RecursionError"}
    assert len(tally.failures) == 3
    assert "too deep" in tally.failures[0]

    monkeypatch.setattr(reading, "HANG_S", 0.05)
    monkeypatch.setattr(reading, "read", lambda _path: [None for _ in iter(int, 1)])
    assert set(fuzzer.batch(range(1)).outcomes) == {"hang"}


# ------------------------------------------------------------------ what fuzzing has found
def test_a_line_break_in_a_header_stays_out_of_the_message(tmp_path: Path) -> None:
    seed = next(seed for seed in seeds("dicom") if seed.name == "jpeg")
    syntax, odd = b"1.2.840.10008.1.2.4.70", b"1.2.840.1y\n08.1.2.4.70"
    (tmp_path / "a.dcm").write_bytes(seed.content.replace(syntax, odd, 1))
    try:
        told = [candidate.detail for candidate in inspect(tmp_path / "a.dcm")]
    except InputError as problem:
        told = [str(problem)]
    with pytest.raises(InputError) as refusal:
        read(tmp_path / "a.dcm")
    assert all(line.isprintable() for line in [*told, str(refusal.value)])


def test_a_line_break_in_a_file_name_stays_out_of_the_message(tmp_path: Path) -> None:
    seed = next(seed for seed in seeds("dicom") if seed.name == "explicit")
    (tmp_path / "line\nbreak.dcm").write_bytes(seed.content[:-100])
    with pytest.raises(InputError, match="truncated") as refusal:
        read(tmp_path)
    assert str(refusal.value).isprintable()


def test_pages_of_a_tiff_that_lead_back_have_an_end(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_loop())
    with pytest.raises(InputError, match="loop"):
        read(tmp_path / "a.tif")


def test_all_formats_are_among_the_seeds() -> None:
    names = {seed.place.partition(".")[2] for family in COUNTS for seed in seeds(family)}
    assert names >= {
        "nii",
        "nii.gz",
        "hdr",
        "img",
        "dcm",
        "nrrd",
        "mha",
        "png",
        "tif",
        "zip",
        "tar",
        "tar.gz",
    }
