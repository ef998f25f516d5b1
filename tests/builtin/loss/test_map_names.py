from medseg.builtin.loss.map_names import numbered, of_number


def test_names_come_back_and_never_meet() -> None:
    names = ["a", "1-a", "0-1-a", ""]
    everything: dict[str, int] = {}
    for number in (0, 1, 2, 10, 11):
        everything.update(numbered(number, dict.fromkeys(names, number)))
    assert len(everything) == 5 * len(names)
    for number in (0, 1, 2, 10, 11):
        assert of_number(number, everything) == dict.fromkeys(names, number)
    assert of_number(3, everything) == {}
