"""The end of a bulk run: rows that were never asked, rows that are the same as others, and the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks
from airflow_provider.yandex_ai_studio.bulk.folder import Folder, counts_of
from airflow_provider.yandex_ai_studio.bulk.ledger import Head
from airflow_provider.yandex_ai_studio.bulk.money import Price
from airflow_provider.yandex_ai_studio.bulk.result import STATUSES
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.exceptions import RowsFailed

COUNTS = ("succeeded", "errored", "invalid_output", "expired", "cancelled", "missing")
"""What the manifest calls the rows by status, in the order of :data:`~...result.STATUSES`."""


def write_end(
    chunks: Chunks, folder: Folder, about: Mapping[str, Any], price: Price | None, now: float
) -> dict[str, Any]:
    """
    Write what is still to be written, and then the manifest.

    :param about: What the manifest says beside the counts.
    :return: The manifest.
    :raises RowsFailed: The parts hold more or fewer rows than there are.
    """
    head = chunks.head
    close_all(chunks)
    folder.check_again(head.fingerprint)
    parts = [folder.part_name(number) for number in range(head.chunks) if any(head.done[number].counts)]
    whole = chunks.tally()
    for name, rows in _parts_of_twins(chunks, folder):
        folder.write_part(name, rows)
        parts.append(folder.part_name(name))
        whole = whole.plus(Tally(counts_of(rows, STATUSES)))
    if sum(whole.counts) != head.rows:
        raise _out_of_place(sum(whole.counts), head.rows)
    manifest = manifest_of(head, whole, about, price, parts, now)
    folder.write_manifest(manifest)
    return manifest


def close_all(chunks: Chunks) -> None:
    """Close every chunk that is not, whatever is missing in it."""
    while True:
        for opened in list(chunks.open.values()):
            chunks.close(opened)
        if chunks.all_begun:
            return
        chunks.begin_next()


def manifest_of(
    head: Head, whole: Tally, about: Mapping[str, Any], price: Price | None, parts: list[str], now: float
) -> dict[str, Any]:
    """Return the manifest of a run."""
    counts = dict(zip(COUNTS, whole.counts, strict=True))
    return {
        "schema_version": 1,
        "batch_id": head.fingerprint[:32],
        "adapter": "yandex_ai_studio",
        **about,
        "result_uri": head.output_path,
        "parts": parts,
        "output_format": head.output_format,
        "request_count": head.rows,
        "counts": counts,
        "duplicate_result_count": 0,
        "out_of_range_result_count": 0,
        "ordered": False,
        "rejoin_key": "index",
        "custom_id_prefix": "row",
        "terminal_reason": _reason(counts, head.rows),
        "submitted_at": _utc(head.began_at),
        "completed_at": _utc(now),
        "usage": whole.spent.as_dict(),
        "cost": price.of(whole.spent) if price else None,
        "currency": price.currency if price else None,
        "submissions": whole.submissions,
        "lost_submissions": whole.lost,
        "repeated_rows": whole.repeated,
        "fingerprint": head.fingerprint,
    }


def _reason(counts: Mapping[str, int], rows: int) -> str:
    if counts["succeeded"] == rows:
        return "succeeded"
    return next((name for name in ("expired", "cancelled") if counts[name]), "partial")


def rows_in_order(chunks: Chunks) -> list[dict[str, Any]]:
    """
    Return all rows of a run without an output, in the order of the inputs.

    :raises RowsFailed: One has no place among them: a shorter list would shift the answers to other rows.
    """
    rows = {row["index"]: row for opened in chunks.open.values() for row in chunks.rows(opened)}
    for same, twins in chunks.far_twins().items():
        for index, custom_id in twins:
            rows[index] = _twin(rows[same], index, custom_id)
    found = [index for index in sorted(rows) if rows[index]["status"] != "missing"]
    if found != list(range(chunks.head.rows)):
        raise _out_of_place(len(found), chunks.head.rows)
    return [rows[index] for index in found]


def _out_of_place(found: int, rows: int) -> RowsFailed:
    return RowsFailed(
        "Clear the task and keep its state: another attempt looks all rows up again. Should it end so again, report it "
        f"with the log.\n{found} rows have a place in the result, and {rows} were given. Nothing was returned, and no "
        "manifest was written; what was generated is kept."
    )


def _parts_of_twins(chunks: Chunks, folder: Folder) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give the rows that are the same as one of another chunk. No more than two parts are in memory at a time."""
    twins = chunks.far_twins()
    size = chunks.head.chunk_size
    waiting: list[dict[str, Any]] = []
    written = 0
    for number in sorted({same // size for same in twins}):
        for row in folder.read_part(number):
            for index, custom_id in twins.get(row["index"], ()):
                waiting.append(_twin(row, index, custom_id))
                if len(waiting) == size:
                    yield f"twins-{written:05d}", waiting
                    written, waiting = written + 1, []
    if waiting:
        yield f"twins-{written:05d}", waiting


def _twin(row: Mapping[str, Any], index: int, custom_id: str) -> dict[str, Any]:
    return {**row, "index": index, "custom_id": custom_id}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
