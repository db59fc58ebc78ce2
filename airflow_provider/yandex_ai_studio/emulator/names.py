"""The names of the vendor's routes, as statistics, faults and quotas spell them."""

COMPLETION = "completion"
COMPLETION_ASYNC = "completionAsync"
OPERATIONS_GET = "operations.get"
OPERATIONS_CANCEL = "operations.cancel"
TOKENIZE = "tokenize"
TOKENIZE_COMPLETION = "tokenizeCompletion"
MODELS = "models"
IAM_TOKENS = "iam.tokens"
METADATA = "metadata.token"

#: A request that no route serves. It is counted, because a client that asks for a wrong path should be seen.
UNKNOWN = "unknown"

#: Routes that work on an operation, where a fault can decide how the operation ends.
OPERATION_ENDINGS = frozenset({COMPLETION_ASYNC, OPERATIONS_GET})

#: Routes whose path names an operation, where a fault can be bound to one id.
WITH_OPERATION_ID = frozenset({OPERATIONS_GET, OPERATIONS_CANCEL})

ALL = frozenset(
    {
        COMPLETION,
        COMPLETION_ASYNC,
        OPERATIONS_GET,
        OPERATIONS_CANCEL,
        TOKENIZE,
        TOKENIZE_COMPLETION,
        MODELS,
        IAM_TOKENS,
        METADATA,
    }
)
