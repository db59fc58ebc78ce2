"""Bodies of answers, decoded within a bound: what is sent in a megabyte may hold a thousand of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from airflow_provider.yandex_ai_studio.api import values

MAX_BODY = 8 * 1024 * 1024
"""Bytes that one answer, or one line of a stream, may have when decoded: 256 thousand tokens, escaped, are shorter."""

MAX_ERROR = 256 * 1024
"""Bytes of an error that are read. Its status says what it means, whatever else would come."""

CHUNK = 64 * 1024
"""Bytes that are read, and decoded, at once."""

ENCODINGS = "gzip, deflate"
"""What the requests ask for."""


class TooLong(Exception):
    """An answer has more bytes than anything that was asked for."""


class Body:
    """
    Gathers the body of one answer.

    :param encoding: What the answer's ``Content-Encoding`` says.
    :param good: It is what was asked for, and no error.
    """

    def __init__(self, encoding: str | None, *, good: bool = True) -> None:
        self._decoder = _Decoder(encoding)
        self._good = good
        self._pieces: list[bytes] = []
        self._length = 0

    def add(self, chunk: bytes) -> bool:
        """
        Take the next bytes of the body, as they came, and tell whether more may be added: an error is cut short.

        :raises TooLong: There are too many.
        :raises zlib.error: They are not what ``Content-Encoding`` says.
        """
        for piece in self._decoder.pieces(chunk):
            self._length += len(piece)
            if self._length > (MAX_BODY if self._good else MAX_ERROR):
                if self._good:
                    raise TooLong
                return False
            self._pieces.append(piece)
        return True

    @contextmanager
    def whatever_follows(self) -> Iterator[None]:
        """
        Take a body that breaks off after its end, for it may hold the id of what is paid for; and what there is of an
        error: its status says what it means.
        """
        try:
            yield
        except TooLong:
            raise
        except Exception:
            if self._good and not _is_complete(self.whole()):
                raise

    def whole(self) -> bytes:
        """Return what there is."""
        return b"".join(self._pieces)


def lines_of(chunks: Iterable[bytes], encoding: str | None) -> Iterator[bytes]:
    """
    Yield the lines of a body that comes bit by bit, without the empty ones. Of one that breaks off, what is complete.

    :raises TooLong: A line is too long.
    :raises zlib.error: The body is not what ``encoding`` says.
    """
    decoder = _Decoder(encoding)
    begun: list[bytes] = []
    try:
        for piece in (piece for chunk in chunks for piece in decoder.pieces(chunk)):
            *ends, rest = piece.split(b"\n")
            for end in ends:
                if line := b"".join([*begun, end]).strip():
                    yield line
                begun = []
            begun.append(rest)
            if sum(map(len, begun)) > MAX_BODY:
                raise TooLong
    except TooLong:
        raise
    except Exception:
        if _is_complete(line := b"".join(begun)):
            yield line
        raise
    if line := b"".join(begun).strip():
        yield line


def _is_complete(body: bytes) -> bool:
    """Tell whether a body holds an object of JSON to its end: no part of one does."""
    return isinstance(values.decoded(body), Mapping)


_PLAIN = (b"{", b"[", b"<", b" ", b"\n", b"\r", b"\xef")
"""How JSON or a page begins, and nothing packed: a gateway may unpack a body and still say that it is packed."""


class _Decoder:
    def __init__(self, encoding: str | None) -> None:
        encoding = (encoding or "").strip().lower()
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS + 32) if encoding in ("gzip", "x-gzip", "deflate") else None
        self._begun = False

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Decode some bytes, piece by piece."""
        if chunk and not self._begun:
            self._begun = True
            if chunk[:1] in _PLAIN:
                self._inflate = None
        if self._inflate is None:
            yield chunk
            return
        while True:
            piece = self._inflate.decompress(chunk, CHUNK)
            yield piece
            chunk = self._inflate.unconsumed_tail
            if not chunk and len(piece) < CHUNK:
                return
