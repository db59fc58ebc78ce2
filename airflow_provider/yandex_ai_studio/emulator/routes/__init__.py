"""One function per endpoint, from a request value to an answer value.

An API that comes later (Responses, chat completions) is a module here and some lines in the table.
"""
