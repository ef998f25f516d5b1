import inspect

import pluggy
import pytest

from medseg.plugin import hookspecs
from medseg.plugin.catalog import KEYS, KINDS
from medseg.plugin.component import Component


def test_every_hook_is_a_kind_and_every_kind_a_hook() -> None:
    manager = pluggy.PluginManager("medseg")
    manager.add_hookspecs(hookspecs)
    hooks = {name for name in vars(manager.hook) if name.startswith("medseg_")}
    assert hooks == set(KINDS)
    assert hooks == {name for name in hookspecs.__all__ if name.startswith("medseg_")}


def test_every_step_of_the_walk_has_a_key_in_the_pipeline_file() -> None:
    assert set(KEYS) == set(KINDS.values()) - {"network", "head", "model", "loss", "augmentation", "metric"}


@pytest.mark.parametrize("hook", KINDS)
def test_hooks_take_no_arguments_and_show_how_they_are_used(hook: str) -> None:
    function = getattr(hookspecs, hook)
    assert not inspect.signature(function).parameters
    assert f"def {hook}():" in (function.__doc__ or "")
    assert list(function()) == []


@pytest.mark.parametrize("hook", KINDS)
def test_the_example_of_each_hook_is_a_right_record(hook: str) -> None:
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    example = text[text.index("@hookimpl") :]
    space = {"hookimpl": hookspecs.hookimpl, "Component": Component}
    exec(inspect.cleandoc("    " + example), space)  # noqa: S102 - our own docstring
    (record,) = space[hook]()  # type: ignore[operator]  # defined by the line above
    assert record.fault(KINDS[hook]) is None
