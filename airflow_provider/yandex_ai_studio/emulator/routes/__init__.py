"""One function per endpoint, from a request value to an answer value.

An API is a module here and some lines in the table.
"""
