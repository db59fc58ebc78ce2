"""Which models there are, what serves them, and how much each can read.

.. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/concepts/generation/models.html
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider.yandex_ai_studio.emulator.wire import rules

_K = 1024


@dataclass(frozen=True)
class Model:
    """Describe a model.

    :param context: how many tokens it reads; ``None`` where the vendor's pages don't say.
    :param native: whether the text-generation API serves it too: the OpenAI-compatible APIs serve all.
    """

    context: int | None
    native: bool = False


MODELS = {
    "aliceai-llm": Model(128 * _K, native=True),
    "yandexgpt": Model(32 * _K, native=True),
    "yandexgpt-lite": Model(32 * _K, native=True),
    "yandexgpt-5.1": Model(32 * _K, native=True),
    "yandexgpt-5-pro": Model(32 * _K, native=True),
    "yandexgpt-5-lite": Model(32 * _K, native=True),
    "aliceai-llm-flash": Model(None),
    "deepseek-v4-flash": Model(None),
    "gemma-3-27b-it": Model(128 * _K),
    "gpt-oss-120b": Model(128 * _K),
    "gpt-oss-20b": Model(128 * _K),
    "qwen3-235b-a22b-fp8": Model(256 * _K),
    "qwen3.6-35b-a3b": Model(None),
}

_BRANCHES = (None, "latest", "rc", "deprecated")


def problem(model_uri: str, native: bool) -> str | None:
    """Return why a model is not served, if it is not.

    :param model_uri: one that can be parsed.
    :param native: ask for the models of the text-generation API only.
    """
    match = rules.TEXT_MODEL.fullmatch(model_uri)
    if match is None:  # tuned in DataSphere: nothing is known of it but its name
        return None
    served = [name for name, model in MODELS.items() if model.native or not native]
    if match["model"] in served and match["branch"] in _BRANCHES:
        return None
    return (
        f"Failed to get model '{model_uri}': this API has {', '.join(served)}, each as latest, rc or deprecated "
        "(an emulator that was started with --lenient takes any)"
    )


def context_problem(model_uri: str, tokens: int) -> str | None:
    """Return what is wrong with so many tokens of input for a model, if anything is."""
    match = rules.TEXT_MODEL.fullmatch(model_uri)
    model = MODELS.get(match["model"]) if match else None
    if model is None or model.context is None or tokens <= model.context:
        return None
    return f"number of input tokens must be no more than {model.context}, got {tokens}"
