"""The chat completions API."""

from __future__ import annotations

from airflow_provider.yandex_ai_studio.emulator.generation import conversation
from airflow_provider.yandex_ai_studio.emulator.generation.chat import Reply
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.routes.openai import check, completed
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.wire import proto_json
from airflow_provider.yandex_ai_studio.emulator.wire.chat import CHAT_COMPLETION
from airflow_provider.yandex_ai_studio.emulator.wire.openai_rules import chat_problems


def complete_chat(backend: Backend, request: Request) -> Answer:
    """Answer at once, or as a stream of chunks that add up to the answer."""
    asked = CHAT_COMPLETION(proto_json.decode(request.body))
    check(backend, asked["model"], chat_problems(asked))
    completion = completed(backend, asked["model"], conversation.of_chat(asked))
    backend.stats.direct_generations += 1
    reply = Reply(backend.ids.uuid(), asked["model"], int(backend.clock.now()))
    if asked.get("stream"):
        return Answer.of_events(reply.chunks(completion), closing="[DONE]")
    return Answer.of_json(reply.whole(completion))
