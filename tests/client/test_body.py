"""Bodies are decoded piece by piece, and never beyond what fits: as values, without a server."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.client import body
from airflow_provider.yandex_ai_studio.client.body import CHUNK, MAX_BODY, MAX_ERROR, Body, TooLong, lines_of

PLAIN = (None, "", "identity", "br")
"""What comes as it is: nobody asked for another encoding."""

PACKED = {
    "gzip": gzip.compress,
    " GZip ": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test has to fill 8 MiB, and a piece ends soon."""
    monkeypatch.setattr(body, "MAX_BODY", 100)
    monkeypatch.setattr(body, "MAX_ERROR", 50)
    monkeypatch.setattr(body, "CHUNK", 16)


def in_chunks(content: bytes, size: int) -> Iterator[bytes]:
    for place in range(0, len(content), size):
        yield content[place : place + size]


def gathered(content: bytes, encoding: str | None, size: int = 7) -> bytes:
    gathering = Body(encoding)
    for chunk in in_chunks(content, size):
        gathering.add(chunk)
    return gathering.whole()


def test_an_answer_may_be_long_but_not_without_end() -> None:
    assert (MAX_BODY, MAX_ERROR, CHUNK) == (8_388_608, 262_144, 65_536)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 99, 100])
def test_a_body_is_what_was_sent(length: int) -> None:
    content = bytes(range(length))
    for plain in PLAIN:
        assert gathered(content, plain) == content
    for encoding, pack in PACKED.items():
        assert gathered(pack(content), encoding) == content
        assert gathered(pack(content), encoding, 1000) == content


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("content", [b"a" * 100, b"ab" * 48, bytes(range(100))])
def test_all_is_decoded_that_has_come_though_the_rest_never_does(
    pack: Callable[[bytes], bytes], content: bytes
) -> None:
    packed = pack(content)
    for length in range(len(packed) + 1):
        come = packed[:length]
        assert gathered(come, "gzip", 1000) == zlib.decompressobj(47).decompress(come)


@pytest.mark.parametrize("encoding", [*PLAIN, *PACKED])
def test_a_body_that_is_too_long_is_given_up(encoding: str | None) -> None:
    pack = PACKED.get(encoding or "", bytes)
    with pytest.raises(TooLong):
        gathered(pack(b"a" * 101), encoding)
    with pytest.raises(TooLong):
        list(lines_of(in_chunks(pack(b"a" * 101), 7), encoding))


@pytest.mark.parametrize("encoding", [*PLAIN, *PACKED])
def test_an_error_is_cut_where_it_is_too_long(encoding: str | None) -> None:
    pack = PACKED.get(encoding or "", bytes)
    gathering = Body(encoding, good=False)
    assert all(gathering.add(chunk) for chunk in in_chunks(pack(b"a" * 50), 7))
    assert gathering.whole() == b"a" * 50
    gathering = Body(encoding, good=False)
    assert not all(gathering.add(chunk) for chunk in in_chunks(pack(b"a" * 1000), 7))
    assert 0 < len(gathering.whole()) <= 50


def test_of_a_bomb_no_more_is_decoded_than_fits() -> None:
    """What lies behind the bound is never looked at, though it came in one chunk."""
    bomb = gzip.compress(b"a" * 1_000_000)
    gathering = Body("gzip")
    with pytest.raises(TooLong):
        gathering.add(bomb)
    assert len(gathering.whole()) == 96


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_not_packed_as_it_says_is_an_error(encoding: str) -> None:
    with pytest.raises(zlib.error):
        gathered(b"PK not this", encoding)
    with pytest.raises(zlib.error):
        list(lines_of([b"PK not this"], encoding))


@pytest.mark.parametrize(
    "content", [b'{"id": 1}', b"[]", b"<html>", b' {"a": "b"}', b"\n{}", b"\r\n{}", b"\xef\xbb\xbf{}"]
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_was_unpacked_on_the_way_is_read_though_it_says_that_it_is_packed(content: bytes, size: int) -> None:
    assert gathered(content, "gzip", size) == content
    assert list(lines_of(in_chunks(content, size), "deflate")) == [content.strip()]


@pytest.mark.parametrize(
    ("come", "complete"),
    [(b'{"id": "d7q1"}', True), (b'{"id": "d7q1"', False), (b"[1]", False), (b"12", False), (b"", False)],
)
def test_a_body_that_breaks_off_is_taken_where_it_is_complete(come: bytes, complete: bool) -> None:
    gathering = Body(None)
    gathering.add(come)
    with ExitStack() as stack:
        if not complete:
            stack.enter_context(pytest.raises(ConnectionError))
        with gathering.whatever_follows():
            raise ConnectionError

    def chunks() -> Iterator[bytes]:
        yield come
        raise ConnectionError

    lines = lines_of(chunks(), None)
    assert not complete or next(lines) == come
    with pytest.raises(ConnectionError):
        next(lines)


def test_a_line_that_came_in_scraps_is_taken_where_it_is_complete() -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"id": '
        yield b'"d7q1"}'
        raise ConnectionError

    lines = lines_of(chunks(), None)
    assert next(lines) == b'{"id": "d7q1"}'
    with pytest.raises(ConnectionError):
        next(lines)


def test_of_an_error_is_taken_what_there_is() -> None:
    gathering = Body(None, good=False)
    gathering.add(b'{"mess')
    with gathering.whatever_follows():
        raise TimeoutError
    assert gathering.whole() == b'{"mess'


def test_a_body_that_is_too_long_is_not_taken_though_it_is_complete() -> None:
    gathering = Body(None)
    gathering.add(b"{}")
    with pytest.raises(TooLong), gathering.whatever_follows():
        gathering.add(b" " * 100)
    with pytest.raises(TooLong):
        next(lines_of([b"{}" + b" " * 100], None))


LINES = b"one\ntwo two\r\n\n  \nthree" + b"e" * 40 + b"\nlast"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 1000])
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_lines_are_the_same_however_they_are_cut(size: int, encoding: str | None) -> None:
    content = gzip.compress(LINES) if encoding else LINES
    assert list(lines_of(in_chunks(content, size), encoding)) == [b"one", b"two two", b"three" + b"e" * 40, b"last"]
    assert list(lines_of(in_chunks(content if encoding else LINES + b"\n", size), encoding))[-1] == b"last"


def test_a_stream_that_ends_with_a_line_has_no_line_more() -> None:
    assert list(lines_of([b"one\n", b" ", b"\n"], None)) == [b"one"]
    assert list(lines_of([], None)) == []


def test_a_line_is_given_as_soon_as_it_ends() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one\ntw"
        raise TimeoutError

    lines = lines_of(chunks(), None)
    assert next(lines) == b"one"
    with pytest.raises(TimeoutError):
        next(lines)


def test_the_bound_is_for_one_line_and_not_for_all() -> None:
    line = b"a" * 99 + b"\n"
    assert list(lines_of([line] * 5, None)) == [line.strip()] * 5
    assert list(lines_of([b"a" * 60, b"a" * 40], None)) == [b"a" * 100]
    with pytest.raises(TooLong):
        list(lines_of([b"a" * 60, b"a" * 41], None))


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.integers(1, 40))
def test_all_lines_come_but_the_empty_ones(lines: list[bytes], size: int) -> None:
    told = list(lines_of(in_chunks(b"\n".join(lines), size), None))
    assert told == [line.strip() for line in lines if line.strip()]
