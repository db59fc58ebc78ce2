"""What a bulk task has written, read by its manifest as anybody would read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def texts_of(manifest: Mapping[str, Any]) -> list[Any]:
    """Return the outputs of all rows, part by part, as they stand there."""
    folder = Path(manifest["result_uri"])
    lines = [line for part in sorted(manifest["parts"]) for line in (folder / part).read_text().splitlines()]
    return [json.loads(line)["output"] for line in lines]
