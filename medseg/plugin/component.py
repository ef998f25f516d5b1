"""The record a plugin offers: a name, where the class or folder is, and one line about it."""

import re
from dataclasses import dataclass

__all__ = ["Component"]

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
CLASS_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
FOLDER_TARGET = re.compile(r"[A-Za-z_][\w.]*:[\w-]+(/[\w-]+)*")


@dataclass(frozen=True, slots=True)
class Component:
    """What a hook yields: inert, imported only when a pipeline names it.

    `name` is lower-case words joined by dashes, unique within a kind and a distribution. `target` is
    "package.module:Class", or for a model "package:folder/in/it". `summary` is one line for lists. The
    hook that yields it gives the kind.
    """

    name: str
    target: str
    summary: str

    def fault(self, kind: str) -> str | None:
        """What is wrong with this record, in one line; None where nothing is."""
        for field in ("name", "target", "summary"):
            if not isinstance(getattr(self, field), str):
                return f"{field} of {self.name!r} is {type(getattr(self, field)).__name__}, not text"
        if not NAME.fullmatch(self.name):
            return f"{self.name!r} is not a name: use lower-case words joined by dashes, as in 'ct-window'"
        pattern, example = (
            (FOLDER_TARGET, "package:models/name")
            if kind == "model"
            else (CLASS_TARGET, "package.module:Class")
        )
        if not pattern.fullmatch(self.target):
            return f"target of {self.name!r} is {self.target!r}, not of the form {example}"
        if not self.summary.strip() or not self.summary.isprintable():
            return f"summary of {self.name!r} is not one line of text"
        return None
