"""
What an earlier attempt has left of a run, put right before another one goes on with it.

Any record may be missing, for the store forgets what was written long ago; any part, for people move and delete files.
What is not there is taken from the plan and the parts, and a row is paid for again only where neither knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.folder import Folder
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Chunk, Head, Ledger
from airflow_provider.yandex_ai_studio.bulk.money import plus
from airflow_provider.yandex_ai_studio.bulk.plan import Plan
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.durability.advice import to_clear
from airflow_provider.yandex_ai_studio.durability.journal import fingerprint_of
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest

STATE_GONE = "The state of chunk %s is gone: its rows are asked, and paid for, again"


def parameters_of(base: CompletionRequest, id_field: str | None, asked_model: str | None) -> dict[str, str]:
    """
    Return what tells the parameters of a run from others, by name, without revealing a text.

    :param asked_model: The model in the task's own words, or None: what the connection adds to them, its default or its
        folder, makes no other run.
    """
    asked = {
        "model": asked_model,
        "instructions": [message.text for message in base.messages[:-1]],
        "temperature": base.temperature,
        "max_tokens": base.max_tokens,
        "reasoning": base.reasoning,
        "json_object": base.output.json_object,
        "json_schema": base.output.schema,
        "id_field": id_field,
    }
    return {name: fingerprint_of({name: value}) for name, value in asked.items()}


def refuse_changed(head: Head, parameters: Mapping[str, str]) -> None:
    """
    See whether a run goes on with the parameters that it began with.

    :raises ConfigurationError: Rows would be asked in two ways, or answers be judged by what they were not asked for.
    """
    changed = [f"`{name}`" for name, asked in parameters.items() if head.parameters.get(name, asked) != asked]
    if changed:
        raise ConfigurationError(
            f"Restore {', '.join(changed)}, and {to_clear()}; or keep the change, and clear it to have all rows "
            "asked and paid for anew (an `output_path` must be another one then).\nThe parameters were changed while "
            "the run went on. What was submitted is written down, and no more is."
        )


def refuse_elsewhere(head: Head, ledger: Ledger, folder: Folder) -> None:
    """
    See whether the parts of an earlier attempt are still where it wrote them.

    :raises ConfigurationError: The folder is not there: to go on would pay for all of them again.
    """
    written = any(any(tally.counts) for tally in head.done.values()) or any(
        chunk is not None and chunk.redo is not None for chunk in (ledger.chunk(head, number) for number in head.open)
    )
    if written and folder.owner() is None and not folder.holds_parts():
        raise wrong(
            f"Restore the folder {str(folder.path)!r}, which `output_path` names; or delete {KEY!r} from the state of "
            "the task, to pay for all rows anew. An earlier attempt wrote parts there, and nothing is there now. (A "
            "path of this machine is another folder on each worker.)"
        )


def take_up(head: Head, plan: Plan, ledger: Ledger, folder: Folder | None, log: Logger) -> None:
    """Open the chunks again whose rows failed or are missing, or whose part is gone; let what failed wait again."""
    names = folder.names() if folder else set()
    for number in range(head.chunks):
        there = folder is not None and folder.part_name(number) in names
        tally = head.done.get(number)
        twins = plan.twins.get(number, {})
        record = head.chunk(number, twins=twins, tally=tally or Tally(), done=tally is not None)
        if number >= head.opened or (tally is not None and _whole(tally, there=there)):
            if twins and ledger.chunk(head, number) is None:
                ledger.write(record)
            continue
        chunk = ledger.chunk(head, number)
        if chunk is None:
            if tally is None:
                log.warning(STATE_GONE, number)
            chunk = record
        if chunk.done and _whole(chunk.tally, there=there):
            head.done[number] = chunk.tally  # an attempt was cut off just before it wrote that
            continue
        _open_again(chunk, head, folder, there=there, log=log)
        ledger.write(chunk)
        head.done.pop(number, None)
    ledger.write(head)


def _open_again(chunk: Chunk, head: Head, folder: Folder | None, *, there: bool, log: Logger) -> None:
    if folder is None or not (chunk.done or chunk.redo is not None):
        chunk.start_over()
    elif not there:
        log.warning("The part of chunk %s is gone from %s: it is generated anew", chunk.number, head.output_path)
        chunk.reopen(None)
    elif chunk.done:
        first = chunk.number * head.chunk_size
        failed = {row["index"] - first: row for row in folder.read_part(chunk.number) if row["status"] != "success"}
        counted = [Usage(**row["usage"]) for number, row in failed.items() if number in chunk.ids and row["usage"]]
        chunk.reopen((number for number in failed if number not in chunk.twins), reduce(plus, counted, Usage()))
    else:
        chunk.start_over()


def _whole(tally: Tally, *, there: bool) -> bool:
    """Tell whether a chunk that was done needs nothing more."""
    return (there or not any(tally.counts)) and not tally.flawed
