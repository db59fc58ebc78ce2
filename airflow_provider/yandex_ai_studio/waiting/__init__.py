"""
Wait for many operations at once: when to ask about each, whose turn it is, and when a wait is over.

:mod:`.schedule`, :mod:`.turns` and :mod:`.decision` are pure; :mod:`.poller` is their edge. What becomes of the task is
not decided here.
"""
