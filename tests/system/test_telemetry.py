"""What a real Airflow tells its monitoring: an Airflow of its own, which sends metrics and spans to a listener here."""

from __future__ import annotations

import gzip
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from system.scene import ENDS_IN_TRIGGERER, eventually
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator
from tools.harness.postgres import scratch_postgres

pytestmark = pytest.mark.system

DAG = "system_paths"
USAGE = "gen_ai.usage.output_tokens"
PROMPT = "Secret plans of the ducks."
ON_WORKER = {"blocking", "resumed_on_worker", "sensed_and_resumed", "poked", "rescheduled"}
IN_TRIGGERER = {"ended_in_triggerer", "sensed_in_triggerer", "sensed_without_worker"}
if not ENDS_IN_TRIGGERER:
    ON_WORKER, IN_TRIGGERER = ON_WORKER | IN_TRIGGERER, set()


@dataclass
class Told:
    """What came in. A process tells its counts anew each time; its last word counts."""

    counts: dict[tuple[str, str, int], int] = field(default_factory=dict)
    spans: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def take(self, path: str, body: bytes) -> None:
        if path.endswith("/metrics"):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                    for point in metric.sum.data_points:
                        tags = sorted((each.key, each.value.string_value) for each in point.attributes)
                        self.counts[metric.name, str(tags), point.start_time_unix_nano] = int(
                            point.as_int or point.as_double
                        )
        else:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    self.spans.append((span.name, {each.key: each.value for each in span.attributes}))

    @property
    def totals(self) -> Counter[str]:
        """The counts of all processes and tags together, by the names of the page."""
        totals: Counter[str] = Counter()
        for (name, _, _), count in list(self.counts.items()):
            totals[name.removeprefix("airflow.yandex_ai_studio.")] += count
        return totals

    def tasks(self, attribute: str, process: str) -> set[str]:
        """Return the tasks with an attribute in a span of a process (``worker`` or ``trigger``)."""
        return {
            attributes["airflow.task_id"].string_value if "airflow.task_id" in attributes else name.split("/")[2]
            for name, attributes in list(self.spans)
            if attribute in attributes and name.startswith(f"{process}.")
        }


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[Told, str]]:
    """A listener for OpenTelemetry's own protocol, and its URL."""
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            packed = self.headers.get("content-encoding") == "gzip"
            told.take(self.path, gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def asked(told: tuple[Told, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the service was asked in a run on every way that a task can take."""
    scratch = tmp_path_factory.mktemp("telemetry")
    shutil.copytree(Path(__file__).parent / "dags", scratch / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    with (
        scratch_postgres() as database,
        LocalEmulator("--seconds", "8") as service,
        LocalAirflow(
            home=scratch / "airflow",
            dags_folder=scratch / "dags",
            database=database,
            connections={"yandex_ai_studio_default": service.connection},
            dags=[DAG],
            env={
                "AIRFLOW__METRICS__OTEL_ON": "True",
                "AIRFLOW__TRACES__OTEL_ON": "True",
                "OTEL_EXPORTER_OTLP_ENDPOINT": told[1],
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_TRACES_EXPORTER": "otlp_proto_http",
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "OTEL_BSP_SCHEDULE_DELAY": "1000",
            },
        ) as airflow,
    ):
        run_id = airflow.trigger(DAG, {"conn_id": "yandex_ai_studio_default", "prompt": PROMPT, "instructions": ""})
        assert airflow.wait(DAG, run_id, timeout=180) == "success"
        stats = service.stats()
        eventually(lambda: told[0].totals["succeeded"] >= len(ON_WORKER | IN_TRIGGERER), lambda: str(told[0].totals))
        eventually(lambda: told[0].totals["reads"] >= stats["requests"]["operations.get"], lambda: str(told[0].totals))
        eventually(lambda: told[0].tasks(USAGE, "trigger") >= IN_TRIGGERER, lambda: str(told[0].spans))
        yield stats


def test_metrics_of_all_processes_add_up_to_what_the_service_was_asked(
    told: tuple[Told, str], asked: dict[str, Any]
) -> None:
    totals = told[0].totals
    assert totals["submitted"] == asked["submissions"]
    assert totals["succeeded"] == len(ON_WORKER | IN_TRIGGERER)
    assert totals["failed"] == totals["found"] == totals["rate_limited"] == 0
    assert totals["reads"] == asked["requests"]["operations.get"]
    assert totals["tokens.input"] > totals["succeeded"]
    assert totals["tokens.output"] > totals["succeeded"]


def test_the_span_of_the_process_where_a_task_ends_has_what_it_took(
    told: tuple[Told, str], asked: dict[str, Any]
) -> None:
    assert told[0].tasks(USAGE, "worker") == ON_WORKER
    assert told[0].tasks(USAGE, "trigger") == IN_TRIGGERER


def test_no_span_and_no_tag_holds_a_prompt_or_the_key(told: tuple[Told, str], asked: dict[str, Any]) -> None:
    everything = f"{told[0].counts} {told[0].spans}"
    assert USAGE in everything
    assert PROMPT not in everything
    assert "AQVN" not in everything
