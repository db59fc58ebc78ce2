"""
The folder with the output of a bulk run: a part for each chunk, and a manifest, last and at once.

The same rows give the same bytes, so that a part may be written again. What reads a part never sees half of it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.bulk import storage
from airflow_provider.yandex_ai_studio.bulk.rows import pyarrow_parquet
from airflow_provider.yandex_ai_studio.bulk.storage import LASTING, reason_of, storage_path
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, YandexAIStudioError

OutputFormat = Literal["jsonl", "parquet"]

MANIFEST = "manifest.json"
OWNER = "_request_set.json"
"""Says whose output this is while there is no manifest yet. Readers of parts skip names that begin so."""

SETTLED_AFTER = 2.0
"""Seconds after which a claim is looked at again where that of another run may have come after it."""

GOES_ON = "What was submitted, if anything, is written down: another attempt goes on with it."

NO_LINE_ENDS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}
"""A line must stay one to those who split a text at all that Python takes for the end of a line."""

Rows = Sequence[Mapping[str, Any]]


class Folder:
    """
    The folder that a bulk run writes to.

    :param path: On any object storage.
    :param form: Of the parts.
    """

    def __init__(self, path: str, form: str) -> None:
        self.path = storage_path(path, "output_path")
        self.form = form
        if form == "parquet":
            pyarrow_parquet("`output_format`")

    def owner(self) -> str | None:
        """
        Return the fingerprint of the requests that this output belongs to, or None where there is none.

        :raises YandexAIStudioError: It can't be read for now.
        """
        with self._told("read"):
            return self._owner()

    def _owner(self) -> str | None:
        for name in (OWNER, MANIFEST):
            try:
                return str(json.loads(storage.read(self.path / name))["fingerprint"])
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (KeyError, TypeError, ValueError):
                return "something that is not of this package"
        return None

    def check(self, fingerprint: str) -> bool:
        """
        See whether these requests may have their output here.

        :return: Whether it is nobody's yet.
        :raises ConfigurationError: It is another's, or can't be read.
        :raises YandexAIStudioError: It can't be read for now.
        """
        with self._told("read", before=True):
            owner = self._owner()
        if owner not in (None, fingerprint):
            raise wrong(
                f"`output_path` {str(self.path)!r} holds the output of another set of requests: the inputs or the "
                "parameters have changed. Give each set a folder of its own ({{ run_id }}, say), or delete this one"
            )
        return owner is None

    def claim(self, fingerprint: str, rows: int, sleep: Callable[[float], None]) -> None:
        """
        Say whose output this is, before anything is paid for. Of two runs that do so at one time, one is refused.

        :param sleep: Waits some seconds: where a file can't be written only if there is none, the last one is kept.
        :raises ConfigurationError: It can't be written, or another run was faster.
        :raises YandexAIStudioError: It can't be written for now.
        """
        free = self.check(fingerprint)
        claim, data = self.path / OWNER, _json({"fingerprint": fingerprint, "rows": rows})
        settled = True
        with self._told("written", before=True):
            storage.make(self.path)
            if free:
                settled = storage.write_first(claim, data)
            else:
                storage.write(claim, data)
        if not settled:
            sleep(SETTLED_AFTER)
        self.check(fingerprint)

    def check_again(self, fingerprint: str) -> None:
        """
        See whether the output still belongs to these requests, before something is written there.

        :raises ConfigurationError: Another run has taken it meanwhile.
        """
        if self.owner() not in (None, fingerprint):
            raise ConfigurationError(
                f"Give each set of requests an `output_path` of its own ({{{{ run_id }}}}, say): another run has taken "
                f"{str(self.path)!r} while this one went on.\nNothing of this run is written there any more. What was "
                "submitted is written down."
            )

    def names(self) -> set[str]:
        """Return the names of what is there."""
        with self._told("read"):
            return storage.names_in(self.path)

    def holds_answers(self) -> bool:
        """Tell whether there is more of a run than its claim."""
        return MANIFEST in self.names() or self.holds_parts()

    def holds_parts(self) -> bool:
        """Tell whether there are parts, though what says whose they are is gone: some tools skip names with a `_`."""
        return any(name.startswith("part-") for name in self.names())

    def part_name(self, number: int | str) -> str:
        """Return the name of the part of a chunk."""
        label = f"{number:05d}" if isinstance(number, int) else number
        return f"part-{label}.{self.form}"

    def write_part(self, number: int | str, rows: Rows) -> None:
        """Write a part, or write it again."""
        data = parquet_of(rows) if self.form == "parquet" else json_lines_of(rows)
        with self._told("written"):
            storage.write(self.path / self.part_name(number), data)

    def read_part(self, number: int | str) -> list[dict[str, Any]]:
        """Read the rows of a part."""
        with self._told("read"):
            data = storage.read(self.path / self.part_name(number))
        return rows_of_parquet(data) if self.form == "parquet" else [json.loads(line) for line in data.splitlines()]

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest: the output is complete. What is no part of it goes."""
        for name in self.names() - set(manifest["parts"]):
            if name.startswith("part-"):
                with self._told("written"):
                    storage.remove(self.path / name)
        with self._told("written"):
            storage.write(self.path / MANIFEST, _json(manifest))

    def drop_manifest(self) -> None:
        """Take the manifest away: the output is being worked on."""
        if MANIFEST in self.names():  # else no right to remove is needed
            with self._told("written"):
                storage.remove(self.path / MANIFEST)

    @contextmanager
    def _told(self, what: Literal["read", "written"], *, before: bool = False) -> Iterator[None]:
        """
        Say in plain words what is wrong with the folder: each storage has errors of its own.

        :param before: Nothing was paid for yet, and nothing has to be kept: what lasts need not be tried again.
        """
        try:
            yield
        except Exception as error:
            may = "read" if what == "read" else "write to"
            folder, why = f"`output_path` {str(self.path)!r}", reason_of(error)
            if before and isinstance(error, LASTING):
                raise wrong(f"Let the worker {may} {folder}, or give another one: it can't be {what} ({why})") from None
            if before:
                advice, fate = (
                    f"Retry the task, or give an `output_path` other than {str(self.path)!r}: it",
                    "Nothing was sent to the service.",
                )
            else:
                advice, fate = f"Let the worker {may} {folder}, and retry the task: it", GOES_ON
            raise YandexAIStudioError(f"{advice} can't be {what} for now ({why}).\n{fate}") from error


def json_lines_of(rows: Rows) -> bytes:
    """Return rows as JSON lines."""
    return b"".join(_json(row) for row in rows)


def parquet_of(rows: Rows) -> bytes:
    """Return rows as Parquet. What has no fixed form (a structured output, an error's details) is JSON in a text."""
    import pyarrow

    counts = ("input_tokens", "completion_tokens", "total_tokens", "reasoning_tokens")
    schema = pyarrow.schema(
        [
            pyarrow.field("custom_id", pyarrow.string()),
            pyarrow.field("index", pyarrow.int64()),
            pyarrow.field("status", pyarrow.string()),
            pyarrow.field("output", pyarrow.string()),
            pyarrow.field("output_json", pyarrow.string()),
            pyarrow.field("raw_output", pyarrow.string()),
            pyarrow.field(
                "error",
                pyarrow.struct([(name, pyarrow.string()) for name in ("type", "message", "operation_id")]),
            ),
            pyarrow.field("model", pyarrow.string()),
            pyarrow.field("usage", pyarrow.struct([(name, pyarrow.int64()) for name in counts])),
            pyarrow.field("finish_reason", pyarrow.string()),
            pyarrow.field("cost", pyarrow.float64()),
        ]
    )
    table = pyarrow.Table.from_pylist([_flat(row) for row in rows], schema=schema)
    sink = io.BytesIO()
    pyarrow_parquet("`output_format`").write_table(table, sink)
    return sink.getvalue()


def rows_of_parquet(data: bytes) -> list[dict[str, Any]]:
    """Return the rows that :func:`parquet_of` was given."""
    return [_deep(row) for row in pyarrow_parquet("`output_path`").read_table(io.BytesIO(data)).to_pylist()]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    text = row["output"] is None or isinstance(row["output"], str)
    return {
        **row,
        "output": row["output"] if text else None,
        "output_json": None if text else json.dumps(row["output"], ensure_ascii=False),
    }


def _deep(flat: dict[str, Any]) -> dict[str, Any]:
    value = flat.pop("output_json")
    row = {**flat, "output": json.loads(value) if value is not None else flat["output"]}
    if row["error"] and row["error"]["operation_id"] is None:
        row["error"] = {name: item for name, item in row["error"].items() if name != "operation_id"}
    return row


def counts_of(rows: Iterable[Mapping[str, Any]], statuses: Sequence[str]) -> tuple[int, ...]:
    """Return how many rows have each status."""
    found = [row["status"] for row in rows]
    return tuple(found.count(status) for status in statuses)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).translate(NO_LINE_ENDS).encode() + b"\n"
