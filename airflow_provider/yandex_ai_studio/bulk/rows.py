"""The rows of a bulk run, a chunk at a time: from a list, or from a file of JSON lines or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider.yandex_ai_studio.api.checks import shape, wrong
from airflow_provider.yandex_ai_studio.bulk.storage import LASTING, opened, reason_of, storage_path
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, YandexAIStudioError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet",)


class Source(Protocol):
    """Rows that can be read again, from any chunk on."""

    def chunks(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        """Give all rows in chunks of ``size``, each with the place at which it can be found again."""

    def chunk(self, number: int, size: int, place: int) -> list[Any]:
        """Read one chunk again."""


def source_of(inputs: Any) -> Source:
    """
    Return where the rows of a bulk run come from.

    :param inputs: A list of texts or mappings; or the path of a file, as a text or an ``ObjectStoragePath``.
    :raises ConfigurationError: It is neither, or no file of a kind that is known.
    """
    from airflow.sdk import ObjectStoragePath  # a DAG file need not pay for it

    if isinstance(inputs, str | ObjectStoragePath):
        of_kind = JsonLines if suffix_of(str(inputs)) in JSON_LINES else Parquet
        return of_kind(storage_path(inputs, "inputs"))
    if isinstance(inputs, Mapping | bytes) or not isinstance(inputs, Sequence):
        raise no_rows(inputs)
    return InMemory(inputs)


def no_rows(inputs: Any) -> ConfigurationError:
    """Return the error for what is neither a list nor a path."""
    return wrong(f"Give `inputs` a list, or the path of a file: it is {shape(inputs)}")


def suffix_of(path: str) -> str:
    """
    Return the end of a file's name, which says what is in it.

    :raises ConfigurationError: It is none that is known.
    """
    file = PurePosixPath(path)
    if file.suffix not in (*JSON_LINES, *PARQUET):
        raise wrong(
            f"`inputs` is {shape(path)}: give the path of a file that ends in {', '.join((*JSON_LINES, *PARQUET))}, or "
            "a list, if it is a prompt"
        )
    return file.suffix


class InMemory:
    """Rows of a list."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = list(rows)

    def chunks(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        """Give all rows in chunks."""
        for place in range(0, len(self._rows), size):
            yield place, self._rows[place : place + size]

    def chunk(self, number: int, size: int, place: int) -> list[Any]:
        """Read one chunk again."""
        return self._rows[place : place + size]


class JsonLines:
    """
    Rows of a file of JSON lines. Empty lines are skipped.

    :param path: The file, on any object storage.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self._path = path

    def chunks(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        """Give all rows in chunks, each with the offset of its first byte."""
        place, rows = 0, []
        for index, (end, number, line) in enumerate(self._lines(0)):
            rows.append(self._row(line, f"line {number} of {str(self._path)!r} (row {index} of `inputs`)"))
            if len(rows) == size:
                yield place, rows
                place, rows = end, []
        if rows:
            yield place, rows

    def chunk(self, number: int, size: int, place: int) -> list[Any]:
        """Read one chunk again."""
        rows: list[Any] = []
        for _, _, line in self._lines(place):
            index = number * size + len(rows)
            rows.append(self._row(line, f"row {index} of `inputs`"))
            if len(rows) == size:
                break
        return rows

    def _lines(self, place: int) -> Iterator[tuple[int, int, bytes]]:
        """Give what is on each line from a place on that is not empty, where it ends, and its number from there."""
        try:
            with opened(self._path) as file:
                file.seek(place)
                for number, line in enumerate(file, start=1):
                    place += len(line)
                    if line.strip():
                        yield place, number, line
        except LASTING as error:
            raise _unreadable(self._path, error) from None
        except Exception as error:  # each object storage has its own errors
            raise _unreadable_now(self._path, error) from error

    @staticmethod
    def _row(line: bytes, where: str) -> Any:
        try:
            return json.loads(line.rstrip())  # else an end that comes too soon is at column 1 of the next line
        except UnicodeDecodeError as error:
            at = f" at byte {error.start + 1}, which is no UTF-8"
        except json.JSONDecodeError as error:
            at = f" at column {error.colno}"
        except (ValueError, RecursionError):  # a number with too many digits, or too deep
            at = ""
        raise wrong(f"Mend {where}: it is not JSON{at}")


class Parquet:
    """
    Rows of a Parquet file.

    :param path: The file, on any object storage.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self._path = path
        self._reading: tuple[int, int, Iterator[tuple[int, list[Any]]]] | None = None

    def chunks(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        """Give all rows in chunks."""
        parquet = pyarrow_parquet("`inputs`")
        try:
            with opened(self._path) as file, parquet.ParquetFile(file) as table:
                place, rows = 0, []
                for batch in table.iter_batches(batch_size=size):
                    rows += batch.to_pylist()
                    while len(rows) >= size:
                        yield place, rows[:size]
                        place, rows = place + size, rows[size:]
                if rows:
                    yield place, rows
        except LASTING as error:
            raise _unreadable(self._path, error) from None
        except ValueError as error:  # most of pyarrow's errors are of that kind
            raise wrong(
                f"Mend {str(self._path)!r}, which `inputs` names: it can't be read as Parquet ({type(error).__name__})"
            ) from None
        except Exception as error:  # each object storage has its own errors
            raise _unreadable_now(self._path, error) from error

    def chunk(self, number: int, size: int, place: int) -> list[Any]:
        """Read one chunk again. Those that follow one another are read in one pass."""
        if self._reading is None or self._reading[0] > number or self._reading[1] != size:
            self._reading = (0, size, self.chunks(size))
        at, _, chunks = self._reading
        for _, rows in chunks:
            at += 1
            if at > number:
                self._reading = (at, size, chunks)
                return rows
        self._reading = None
        return []


def pyarrow_parquet(what: str) -> Any:
    """
    Return ``pyarrow.parquet``.

    :raises ConfigurationError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise wrong(
            f"Parquet in {what} needs pyarrow: pip install 'airflow-provider-yandex-ai-studio[parquet]'. Or use JSON "
            "lines"
        ) from None
    return pyarrow.parquet


def _unreadable(path: ObjectStoragePath, error: OSError) -> ConfigurationError:
    if isinstance(error, FileNotFoundError):
        return wrong(f"There is no file {str(path)!r}, which `inputs` names")
    return wrong(f"Let the worker read {str(path)!r}, which `inputs` names: {reason_of(error)}")


def _unreadable_now(path: ObjectStoragePath, error: Exception) -> YandexAIStudioError:
    return YandexAIStudioError(
        f"Retry the task: {str(path)!r}, which `inputs` names, can't be read for now ({reason_of(error)}).\n"
        "What was submitted, if anything, is written down: another attempt goes on with it."
    )
