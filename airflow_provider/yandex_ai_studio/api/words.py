"""How the words of others, which may end in a full stop or not, come into sentences of ours."""

from __future__ import annotations


def within(said: object) -> str:
    """Return what was said as a part of a sentence: in one line, without the stop at its end."""
    if isinstance(said, BaseException):
        said = str(said) or type(said).__name__
    return " ".join(str(said).split()).rstrip(" .")


def ended(said: object) -> str:
    """Return what was said as a sentence, or several: with one stop at its end."""
    text = (str(said) or type(said).__name__).rstrip(" .\n")
    return text if text.endswith(("!", "?", "…")) else f"{text}."
