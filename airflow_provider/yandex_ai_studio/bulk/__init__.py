"""
Many requests of one task: what they are, what became of each, and what is written of it.

Decisions (:mod:`.ledger`, :mod:`.result`, :mod:`.money`, :mod:`.progress`, :mod:`.hourly_quota`) are pure; :mod:`.rows`
reads the inputs, :mod:`.folder` holds the output. :mod:`.attempt` is a task's attempt as a whole, :mod:`.run` a stretch
of it on a worker: :mod:`.submitting` and :mod:`.harvesting` by turns. How a task defers may not come in: that is the
operator's.
"""
