"""The error tree is as it is drawn, and its errors travel between processes with their facts."""

import copy
import pickle
import re

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider.yandex_ai_studio import exceptions

CLASSES = {
    name: value for name, value in vars(exceptions).items() if getattr(value, "__module__", "") == exceptions.__name__
}

REQUEST_FACTS = {"status": 429, "grpc_code": 8, "request_id": "a1b2", "arrived": False}
OPERATION_FACTS = {"operation_id": "d7q1", "code": 13}


def drawn_tree():
    """Read the tree out of the module's docstring: name -> (name of the parent, whether it says "no retry")."""
    tree, path = {}, []
    for line in exceptions.__doc__.splitlines():
        if match := re.match(r"((?:│   |    )*(?:├── |└── )?)([A-Z]\w+)(?:  .*)?$", line):
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            tree[match[2]] = (path[depth - 1] if depth else None, line.endswith("(no retry)"))
    return tree


def real_tree():
    def parent(cls):
        return next((base.__name__ for base in cls.__bases__ if base.__name__ in CLASSES), None)

    return {name: (parent(cls), issubclass(cls, AirflowFailException)) for name, cls in CLASSES.items()}


def facts_of(cls):
    if issubclass(cls, exceptions.RequestError):
        return REQUEST_FACTS
    return OPERATION_FACTS if issubclass(cls, exceptions.OperationError) else {}


def test_the_tree_is_as_drawn_and_exactly_the_futile_retries_fail_at_once():
    assert drawn_tree() == real_tree()


def test_every_class_is_exported():
    assert sorted(CLASSES) == exceptions.__all__


@pytest.mark.parametrize("cls", CLASSES.values())
def test_airflow_handles_every_error_as_its_own(cls):
    assert issubclass(cls, AirflowException)


@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cls", CLASSES.values())
def test_an_error_survives_the_way_to_another_process_with_its_facts(cls, travel):
    arrived = travel(cls("what happened", **facts_of(cls)))
    assert type(arrived) is cls
    assert str(arrived) == "what happened"
    assert {name: getattr(arrived, name) for name in facts_of(cls)} == facts_of(cls)


def test_a_request_counts_as_arrived_unless_the_contrary_is_certain():
    assert exceptions.ServiceUnavailable("the answer got lost").arrived
