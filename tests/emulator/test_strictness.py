"""What the service refuses by what it has: models that an API does not serve, and more tokens than a model reads."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.emulator.wire.models import MODELS, context_problem, problem

URI = "gpt://b1gtestfolder"
KEY = "AQVNsecretsecretsecret"
#: The emulator's tokenizer makes one token of each of these.
WORD = "word "


def messages(tokens: int) -> list[dict[str, str]]:
    """Return messages of so many words, each of a length that the service takes."""
    return [{"role": "user", "text": WORD * 15_000}] * (tokens // 15_000)


@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if model.native])
def test_the_vendors_own_models_are_served_by_every_api(client: Any, model: str) -> None:
    uri = f"{URI}/{model}/latest"
    answers = (client.complete(modelUri=uri), client.submit(modelUri=uri), client.respond(model=uri))
    assert [answer.status_code for answer in (*answers, client.chat(model=uri))] == [200] * 4


@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if not model.native])
def test_an_open_model_is_served_by_the_openai_compatible_apis_alone(
    emulator: Emulator, client: Any, model: str
) -> None:
    uri = f"{URI}/{model}"
    now, later = client.complete(modelUri=uri), client.submit(modelUri=uri)
    assert (now.status_code, later.status_code, emulator.stats()["generations"]) == (400, 400, 0)
    assert now.json()["error"]["message"].startswith(f"Failed to get model '{uri}'")
    assert later.json()["message"].startswith(f"Failed to get model '{uri}'")
    assert (client.respond(model=uri).status_code, client.chat(model=uri).status_code) == (200, 200)


@pytest.mark.parametrize("model", ["yandexgtp", "yandexgpt/next", "yandexgpt-lite/next@tuned"])
def test_an_unknown_model_or_branch_is_served_by_no_api(emulator: Emulator, client: Any, model: str) -> None:
    uri = f"{URI}/{model}"
    answers = [client.complete(modelUri=uri), client.submit(modelUri=uri), client.respond(model=uri)]
    answers += [client.chat(model=uri), client.post("/foundationModels/v1/tokenize", {"modelUri": uri, "text": "x"})]
    assert [answer.status_code for answer in answers] == [400] * 5
    assert "Failed to get model" in answers[2].json()["error"]["message"]
    assert emulator.stats()["generations"] == 0


def test_a_model_is_refused_over_grpc_as_over_http(rpc: Any) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        rpc.submit(modelUri=f"{URI}/gpt-oss-20b")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("uri", ["ds://bt12tuned", f"{URI}/yandexgpt-lite/latest@tuned", f"{URI}/yandexgpt/deprecated"])
def test_models_that_nobody_can_list_are_taken(uri: str) -> None:
    assert problem(uri, native=True) is None


def test_the_tokenizer_takes_the_models_of_every_api(client: Any) -> None:
    asked = {"modelUri": f"{URI}/gpt-oss-20b", "text": "x"}
    assert client.post("/foundationModels/v1/tokenize", asked).status_code == 200


def test_what_no_model_reads_is_refused_before_it_is_paid_for(emulator: Emulator, client: Any) -> None:
    now, later = client.complete(messages=messages(75_000)), client.submit(messages=messages(75_000))
    response = client.respond(input=WORD * 75_000, background=True)
    chat = client.chat(messages=[{"role": "user", "content": WORD * 75_000}])
    told = "number of input tokens must be no more than 32768, got 750"
    for answer, message in (
        (now, now.json()["error"]["message"]),
        (later, later.json()["message"]),
        (response, response.json()["error"]["message"]),
        (chat, chat.json()["error"]["message"]),
    ):
        assert answer.status_code == 400
        assert told in message
    assert emulator.stats()["generations"] == 0
    assert client.complete(messages=messages(30_000)).status_code == 200


def test_a_model_that_reads_more_is_given_more(client: Any) -> None:
    assert client.respond(model=f"{URI}/gpt-oss-120b", input=WORD * 75_000).status_code == 200
    assert context_problem(f"{URI}/gpt-oss-120b", 131_073)
    assert context_problem(f"{URI}/qwen3-235b-a22b-fp8", 131_073) is None
    assert context_problem(f"{URI}/deepseek-v4-flash", 10**9) is None
    assert context_problem("ds://bt12tuned", 10**9) is None


def test_a_lenient_emulator_takes_what_the_service_refuses(connect: Any) -> None:
    with Emulator(api_key=KEY, lenient=True) as emulator:
        client = connect(emulator)
        del client.session.headers["OpenAI-Project"]
        uri = f"{URI}/yandexgpt-17"
        answers = [
            client.complete(modelUri=uri),
            client.submit(messages=messages(75_000)),
            client.respond(model=uri, input=WORD * 75_000),
            client.chat(model=uri, messages=[{"role": "user", "content": WORD * 75_000}]),
        ]
        assert [answer.status_code for answer in answers] == [200] * 4
        headers = {"Authorization": f"Bearer {KEY}"}
        read = requests.get(f"{emulator.url}/v1/responses/{answers[2].json()['id']}", headers=headers, timeout=5)
        assert read.status_code == 200
