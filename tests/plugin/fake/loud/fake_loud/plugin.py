"""Prints when imported, and when asked for records."""

from collections.abc import Iterable

from medseg.plugin import Component, hookimpl

print("thank you for choosing fake-loud")  # noqa: T201


@hookimpl
def medseg_writers() -> Iterable[Component]:
    print("have you heard of our other plugins?")  # noqa: T201
    yield Component("shout", "fake_loud.steps:Shout", "Prints when it is imported.")
