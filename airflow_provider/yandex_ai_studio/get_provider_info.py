"""What Airflow reads to discover the provider and to draw the connection form. Strings only."""

from __future__ import annotations

from typing import Any

PACKAGE = "airflow_provider.yandex_ai_studio"
INTEGRATION = "Yandex AI Studio"


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow."""
    return {
        "package-name": "airflow-provider-yandex-ai-studio",
        "name": INTEGRATION,
        "description": "Generate text with YandexGPT and the other models of Yandex AI Studio.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://aistudio.yandex.ru/docs/en/ai-studio/",
                "tags": ["ai"],
            }
        ],
        "hooks": _modules("hooks.ai_studio"),
        "operators": _modules("operators.bulk", "operators.completion", "operators.responses"),
        "sensors": _modules("sensors.operation"),
        "triggers": _modules("triggers.bulk", "triggers.operation"),
        "extra-links": [f"{PACKAGE}.links.YandexAIStudioFolderLink"],
        "task-decorators": [
            {"name": "yandex_ai_studio", "class-name": f"{PACKAGE}.decorators.ai_studio.yandex_ai_studio_task"}
        ],
        "connection-types": [
            {
                "connection-type": "yandex_ai_studio",
                "hook-class-name": f"{PACKAGE}.hooks.ai_studio.YandexAIStudioHook",
                "hook-name": INTEGRATION,
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {
                        "password": "the API key of a service account",
                        "host": "empty for the vendor's own; or the URL of the emulator or a gateway",
                    },
                },
                "conn-fields": {
                    "folder_id": _field("Folder ID", "Needed for models given by a short name, like yandexgpt."),
                    "model": _field("Default model", "Of tasks that name none. Empty: yandexgpt."),
                    "service_account_json": _field(
                        "Service-account key (JSON)",
                        "Instead of the API key: the authorized key that `yc iam key create` writes.",
                        format="password",
                    ),
                    "service_account_json_path": _field(
                        "Service-account key (path)",
                        "Instead of the API key: where workers and triggerer find the key file.",
                    ),
                    "iam_token": _field(
                        "IAM token",
                        "Instead of the API key. It lives for at most 12 hours and is not refreshed.",
                        format="password",
                    ),
                    "use_metadata_service": _field(
                        "Use the metadata service",
                        "Instead of the API key: the service account of the virtual machine that Airflow runs on.",
                        type="boolean",
                    ),
                    "polls_per_second": _field(
                        "Result reads per second",
                        "For all waits of one triggerer. Empty: 40, of the 50 that the vendor allows a cloud.",
                        type="number",
                        minimum=0.1,
                    ),
                    "submits_per_second": _field(
                        "Submissions per second",
                        "Of one bulk task. Empty: 8, of the 10 that the vendor allows a cloud.",
                        type="number",
                        minimum=0.1,
                    ),
                    "prices": _field(
                        "Prices (JSON)",
                        "For costs of bulk tasks, per 1,000 tokens: "
                        '{"currency": "RUB", "yandexgpt": {"async": {"input": 0.1, "output": 0.1}}}',
                        format="json",
                    ),
                    "timeout": _field(
                        "Request timeout, seconds",
                        "For one request. Empty: each endpoint's own.",
                        type="number",
                        minimum=1,
                    ),
                    "transport": _field("Transport", "rest or grpc; the latter needs the extra [grpc]. Empty: rest."),
                    "grpc_target": _field(
                        "gRPC target", "host:port, where the base URL is not the vendor's own. Empty: the vendor's."
                    ),
                    "ca_bundle": _field(
                        "CA bundle (path)",
                        "Where workers and triggerer find the certificates to trust (PEM), if a company's network "
                        "ends TLS. Empty: REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE, else certifi's.",
                    ),
                    "disable_data_logging": _field(
                        "Disable data logging", "Ask the service not to keep the prompts.", type="boolean"
                    ),
                },
            }
        ],
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    return [{"integration-name": INTEGRATION, "python-modules": [f"{PACKAGE}.{name}" for name in names]}]


def _field(label: str, description: str, *, type: str = "string", **schema: Any) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": [type, "null"], "default": None, **schema},
    }
