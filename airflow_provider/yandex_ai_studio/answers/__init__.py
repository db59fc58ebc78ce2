"""
What an operation that ended means for its task: the answer with its XComs, or the error that says why there is none.

The texts of these errors are here. What was paid for, and what to do next, is said in each; nothing is asked or sent.
"""
