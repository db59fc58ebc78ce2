"""Ask the emulator for a text: without the package, without an operation, without Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from tools.harness.emulator import LocalEmulator

TIMEOUT = 30.0
"""Seconds for one text."""


@dataclass(frozen=True)
class Direct:
    """A text, and what it cost."""

    text: str
    total_tokens: int


def ask(emulator: LocalEmulator, *texts: tuple[str, str], options: Mapping[str, Any] | None = None) -> Direct:
    """
    Return what the emulator answers.

    :param texts: Role and text of each message.
    :param options: The ``completionOptions``.
    """
    answer = requests.post(
        f"{emulator.url}/foundationModels/v1/completion",
        json={
            "modelUri": f"gpt://{emulator.folder_id}/yandexgpt",
            "completionOptions": dict(options or {}),
            "messages": [{"role": role, "text": text} for role, text in texts],
        },
        headers={"Authorization": f"Api-Key {emulator.api_key}"},
        timeout=TIMEOUT,
    )
    answer.raise_for_status()
    result = answer.json()["result"]
    return Direct(str(result["alternatives"][0]["message"]["text"]), int(result["usage"]["totalTokens"]))
