import inspect

import pytest

from medseg import errors

EXIT_CODES = {
    "MedsegError": 1,
    "InputError": 2,
    "GeometryError": 2,
    "PipelineError": 4,
    "PluginError": 4,
    "ModelError": 4,
    "ResourceError": 5,
    "UsageError": 64,
}


def test_every_error_has_the_exit_code_that_was_promised() -> None:
    classes = {
        n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, errors.MedsegError)
    }
    assert {name: kind.exit_code for name, kind in classes.items()} == EXIT_CODES
    assert set(EXIT_CODES) <= set(errors.__all__)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_the_base_catches_all(name: str) -> None:
    with pytest.raises(errors.MedsegError, match="one line"):
        raise getattr(errors, name)("one line")


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for name, code in EXIT_CODES.items():
        line = next(line for line in drawn.splitlines() if f" {name} " in f"{line} ")
        assert f" {code} " in line
        depth = len(getattr(errors, name).__mro__) - len(errors.MedsegError.__mro__)
        assert line.index(name) == 4 + 4 * depth
    assert issubclass(errors.GeometryError, errors.InputError)
    assert issubclass(errors.PluginError, errors.PipelineError)
    assert issubclass(errors.ModelError, errors.PipelineError)


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("keep-largst", ["fill-holes", "keep-largest"], "; did you mean 'keep-largest'?"),
        ("Keep_Largest", ["keep-largest"], "; did you mean 'keep-largest'?"),
        ("minimum-ml", ["minimum_ml", "maximum_ml"], "; did you mean 'minimum_ml'?"),
        ("LIVER", ["liver", "Liver"], "; did you mean 'liver'?"),
        ("x", ["clip", "pad", "clip"], "; there are clip, pad"),
        ("", ["clip"], "; there are clip"),
        ("x", [], "; there are none"),
        ("?", [f"n{i}" for i in range(12)], "; there are " + ", ".join(f"n{i}" for i in range(12))),
        ("?", [f"n{i}" for i in range(13)], "; there are " + ", ".join(f"n{i}" for i in range(12)) + ", …"),
        ("x" * 1_000_000, ["clip"], "; there are clip"),
    ],
)
def test_a_wrong_name_is_told_with_the_closest_or_with_some(name: str, known: list[str], said: str) -> None:
    assert errors.did_you_mean(name, iter(known)) == said
