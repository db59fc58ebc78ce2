"""The vendor's own SDK, pointed at the emulator's gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yandex_ai_studio_sdk as sdk

from airflow_provider.yandex_ai_studio.emulator import Emulator

KEY, FOLDER = "AQVNsecretsecretsecret", "b1gtestfolder"
TEXT = "To be, or not to be: that is the question. Whether 'tis nobler in the mind to suffer is another one."


@pytest.fixture
def patient() -> Iterator[Emulator]:
    with Emulator(api_key=KEY, folder_id=FOLDER, seconds=3600, grpc=True) as running:
        yield running


@pytest.fixture
def studio(patient: Emulator) -> Any:
    """Hold an SDK that discovers every service through the emulator; ``verify=False`` is a plaintext channel."""
    return sdk.AIStudio(folder_id=FOLDER, auth=KEY, endpoint=patient.grpc_target, verify=False)


@pytest.fixture
def model(studio: Any) -> Any:
    return studio.models.completions("yandexgpt").configure(temperature=0.3)


def test_run(model: Any, patient: Emulator) -> None:
    result = model.run(TEXT)
    assert (result[0].text, result[0].role, result.status.name) == (TEXT, "assistant", "FINAL")
    assert result.usage.total_tokens == result.usage.input_text_tokens + result.usage.completion_tokens
    assert patient.stats()["requests"]["endpoints.list"] == 1


def test_run_stream(model: Any) -> None:
    *partial, final = model.run_stream(TEXT)
    assert {result.status.name for result in partial} == {"PARTIAL"}
    assert all(TEXT.startswith(result.text) for result in partial)
    assert (final.text, final.status.name) == (TEXT, "FINAL")


def test_run_deferred_and_attach_deferred(model: Any, patient: Emulator) -> None:
    operation = model.run_deferred(TEXT)
    assert operation.get_status().is_running
    attached = model.attach_deferred(operation.id)
    patient.advance(3600)
    assert attached.get_status().is_succeeded
    assert operation.wait(poll_interval=0.01)[0].text == TEXT
    assert attached.get_result() == operation.get_result()
    assert patient.stats()["submissions"] == 1


def test_cancel(model: Any) -> None:
    operation = model.run_deferred(TEXT)
    operation.cancel()
    status = operation.get_status()
    assert (status.is_failed, status.error.code) == (True, 1)


def test_a_failed_operation(model: Any, patient: Emulator) -> None:
    patient.fault("completionAsync", "operation_error", code=3, message="the text is unethical")
    operation = model.run_deferred(TEXT)
    patient.advance(3600)
    with pytest.raises(sdk.exceptions.RunError, match="the text is unethical") as caught:
        operation.wait(poll_interval=0.01)
    assert caught.value.code == 3


def test_tokenize(model: Any) -> None:
    tokens = model.tokenize(TEXT)
    assert "".join(token.text for token in tokens if not token.special).replace("▁", " ") == f"user: {TEXT}"


def test_structured_output(model: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
    configured = model.configure(response_format={"name": "count", "json_schema": schema})
    assert configured.run(TEXT).text == '{"n": 0}'


def test_a_refusal_carries_the_id_of_the_client(studio: Any) -> None:
    with pytest.raises(sdk.exceptions.AioRpcError, match="does not match with service account") as caught:
        studio.models.completions("gpt://b1gother/yandexgpt").run(TEXT)
    assert "x-client-request-id" in str(caught.value)


def test_a_repeated_request_is_a_second_submission(model: Any, patient: Emulator) -> None:
    patient.fault("completionAsync", "lost_answer")
    model.run_deferred(TEXT)
    assert patient.stats()["submissions"] == 2  # the SDK repeats what the service knows no idempotency of


def test_a_service_map_with_tls(tmp_path: Path) -> None:
    with Emulator(api_key=KEY, folder_id=FOLDER, grpc_tls=True) as secure:
        file = tmp_path / "emulator.pem"
        file.write_bytes(secure.grpc_certificate)
        services = {"ai-foundation-models": secure.grpc_target, "operation": secure.grpc_target}
        studio = sdk.AIStudio(folder_id=FOLDER, auth=KEY, endpoint=None, service_map=services, verify=file)
        assert studio.models.completions("yandexgpt").run(TEXT)[0].text == TEXT


async def test_many_at_a_time(patient: Emulator) -> None:
    studio = sdk.AsyncAIStudio(folder_id=FOLDER, auth=KEY, endpoint=patient.grpc_target, verify=False)
    model = studio.models.completions("yandexgpt")
    operations = await asyncio.gather(
        *(model.run_deferred(f"Hedgehog {number} sleeps in the fog.") for number in range(50))
    )
    patient.advance(3600)
    results = await asyncio.gather(*(operation.wait(poll_interval=0.01) for operation in operations))
    assert [result[0].text for result in results] == [f"Hedgehog {number} sleeps in the fog." for number in range(50)]
