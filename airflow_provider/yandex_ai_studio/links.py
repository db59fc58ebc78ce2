"""The extra link from a task to its folder in the vendor's console: a page per operation there is not."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

CONSOLE = "https://aistudio.yandex.ru/platform/folders"


class YandexAIStudioFolderLink(BaseOperatorLink):
    """
    Leads to the folder of the task's connection.

    Airflow asks for it on the worker whenever a worker is done with the task, a deferral included, and keeps it as an
    XCom. So it is there from the submission on, and a task that ends in the triggerer has it too.
    """

    name = "Yandex AI Studio"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page; nothing where the task did not get to look the connection up, or that names no folder."""
        hook = vars(operator).get("hook")
        settings = vars(hook).get("settings") if hook else None
        folder_id = settings.folder_id if settings else None
        return f"{CONSOLE}/{quote(folder_id, safe='')}" if folder_id else ""
