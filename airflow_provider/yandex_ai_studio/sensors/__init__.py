"""What waits for an operation that something else submitted. A sensor owns no operation, and never cancels one."""
