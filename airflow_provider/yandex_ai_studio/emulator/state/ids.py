"""Identifiers that look like the vendor's, drawn from a random source."""

from __future__ import annotations

import random
import string
import uuid

_ID_LETTERS = string.ascii_lowercase + string.digits
_TOKEN_LETTERS = string.ascii_letters + string.digits + "-_"


class Ids:
    """Draw identifiers.

    :param source: where chance comes from; a seeded one gives the same identifiers again.
    """

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def resource(self, prefix: str) -> str:
        """Return a resource id: the prefix of its kind and 17 letters or digits."""
        return prefix + self._letters(_ID_LETTERS, 17)

    def request(self) -> str:
        """Return a request id."""
        return self.uuid()

    def uuid(self) -> str:
        """Return a UUID, as responses and their items are named by."""
        return str(uuid.UUID(int=self._source.getrandbits(128), version=4))

    def trace(self) -> str:
        """Return a trace id, in the form of the ``x-server-trace-id`` header."""
        trace, span = (f"{self._source.getrandbits(64):016x}" for _ in range(2))
        return f"{trace}:{span}:{trace}:1"

    def iam_token(self) -> str:
        """Return a token in the documented form of IAM tokens."""
        return f"t1.{self._letters(_TOKEN_LETTERS, 40)}.{self._letters(_TOKEN_LETTERS, 86)}"

    def _letters(self, letters: str, count: int) -> str:
        return "".join(self._source.choices(letters, k=count))
