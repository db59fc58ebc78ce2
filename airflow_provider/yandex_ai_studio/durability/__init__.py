"""
Paid once: what a task has submitted is written down, found again, waited for, and cancelled only when nobody comes.

Decisions (:mod:`.policy`, :mod:`.journal`, :mod:`.kill`) stand apart from what acts on them (:mod:`.submission`,
:mod:`.resume`). How a request is sent or an operation asked about may not come in: that is the hook's.
"""
