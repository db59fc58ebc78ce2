"""What rows come to: how they ended, and what was submitted and spent for them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.money import plus
from airflow_provider.yandex_ai_studio.bulk.result import STATUSES


@dataclass(frozen=True)
class Tally:
    """
    What a chunk, or a run, has come to.

    :param counts: Rows by status, in the order of :data:`~...result.STATUSES`.
    :param spent: Tokens of all attempts.
    :param submissions: Operations that are known.
    :param lost: Submissions of which nobody knows whether they were taken.
    :param repeated: Rows submitted again because their generation failed.
    :param late: Operations that took too long, and may be billed yet.
    """

    counts: tuple[int, ...] = (0,) * len(STATUSES)
    spent: Usage = Usage()  # noqa: RUF009 - it is frozen
    submissions: int = 0
    lost: int = 0
    repeated: int = 0
    late: int = 0

    @property
    def flawed(self) -> bool:
        """Whether rows are without an answer."""
        return sum(self.counts[1:]) > 0

    def plus(self, other: Tally) -> Tally:
        """Add another one."""
        return Tally(
            tuple(one + more for one, more in zip(self.counts, other.counts, strict=True)),
            plus(self.spent, other.spent),
            self.submissions + other.submissions,
            self.lost + other.lost,
            self.repeated + other.repeated,
            self.late + other.late,
        )

    def without_rows(self) -> Tally:
        """Return what was submitted and spent alone."""
        return Tally(spent=self.spent, submissions=self.submissions, lost=self.lost, repeated=self.repeated)

    def value(self) -> list[Any]:
        """Return plain JSON."""
        spent = self.spent
        tokens = [spent.input_tokens, spent.completion_tokens, spent.total_tokens, spent.reasoning_tokens]
        return [list(self.counts), tokens, self.submissions, self.lost, self.repeated, self.late]

    @classmethod
    def of(cls, value: Any) -> Tally:
        """Read what :meth:`value` gave, of this release or another."""
        counts, tokens, submissions, lost, repeated, *more = value
        return cls(tuple(counts), Usage(*tokens), submissions, lost, repeated, *more[:1])
