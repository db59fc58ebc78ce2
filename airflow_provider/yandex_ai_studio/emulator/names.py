"""The names of the vendor's routes, as statistics, faults and quotas spell them."""

COMPLETION = "completion"
COMPLETION_ASYNC = "completionAsync"
OPERATIONS_GET = "operations.get"
OPERATIONS_CANCEL = "operations.cancel"
TOKENIZE = "tokenize"
TOKENIZE_COMPLETION = "tokenizeCompletion"
RESPONSES_CREATE = "responses.create"
RESPONSES_GET = "responses.get"
RESPONSES_CANCEL = "responses.cancel"
RESPONSES_DELETE = "responses.delete"
RESPONSES_INPUT_ITEMS = "responses.input_items"
CHAT_COMPLETIONS = "chat.completions"
MODELS = "models"
IAM_TOKENS = "iam.tokens"
ENDPOINTS_LIST = "endpoints.list"
ENDPOINTS_GET = "endpoints.get"
METADATA = "metadata.token"

#: A request that no route serves. It is counted, because a client that asks for a wrong path should be seen.
UNKNOWN = "unknown"

#: Routes that work on a native operation, where a fault can show its error before it is done.
NATIVE_ENDINGS = frozenset({COMPLETION_ASYNC, OPERATIONS_GET})

#: Routes that show a response.
RESPONSES = frozenset({RESPONSES_CREATE, RESPONSES_GET, RESPONSES_CANCEL})

#: Routes where a fault can put an error in place of a response, with status 200.
EMBEDDED_ERRORS = frozenset({RESPONSES_CREATE, RESPONSES_GET})

#: Routes that work on an operation or a response, where a fault can decide how it ends.
OPERATION_ENDINGS = NATIVE_ENDINGS | EMBEDDED_ERRORS

#: Routes that show how far an operation or a response is.
READS = frozenset({OPERATIONS_GET, RESPONSES_GET})

#: Routes whose path names an operation or a response, where a fault can be bound to one id.
WITH_OPERATION_ID = frozenset(
    {
        OPERATIONS_GET,
        OPERATIONS_CANCEL,
        RESPONSES_GET,
        RESPONSES_CANCEL,
        RESPONSES_DELETE,
        RESPONSES_INPUT_ITEMS,
    }
)

ALL = frozenset(
    {
        COMPLETION,
        COMPLETION_ASYNC,
        OPERATIONS_GET,
        OPERATIONS_CANCEL,
        TOKENIZE,
        TOKENIZE_COMPLETION,
        RESPONSES_CREATE,
        RESPONSES_GET,
        RESPONSES_CANCEL,
        RESPONSES_DELETE,
        RESPONSES_INPUT_ITEMS,
        CHAT_COMPLETIONS,
        MODELS,
        IAM_TOKENS,
        ENDPOINTS_LIST,
        ENDPOINTS_GET,
        METADATA,
    }
)
