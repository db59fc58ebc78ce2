"""
Many requests of one task: what they are, what became of each, and what is written of it.

Decisions (:mod:`.ledger`, :mod:`.result`, :mod:`.money`, :mod:`.progress`, :mod:`.hour`) are pure; :mod:`.rows`
reads, :mod:`.output` writes, and :mod:`.run` is the stretch on a worker that brings them together. How a task defers
may not come in: that is the operator's.
"""
