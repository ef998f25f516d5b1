"""What decoders in the child process give: replies, or a refusal in words."""

from typing import Any

from numpy.typing import NDArray

__all__ = ["MOST_TEXT", "RefusedError", "Reply", "one_line", "shown"]

MOST_TEXT = 200
Reply = tuple[dict[str, Any], "NDArray[Any] | None"]
"""Fields that go into JSON, and an array whose bytes follow them, if there is one."""


class RefusedError(Exception):
    """What is wrong with a file, in words that may be shown."""


def one_line(problem: BaseException) -> str:
    """The first line of a library's words, without control characters."""
    text = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
    return "".join(letter for letter in text if letter.isprintable())[:MOST_TEXT]


def shown(text: str) -> str:
    """A text from a file as a message or a terminal may hold it: short, control characters as "?"."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MOST_TEXT])
