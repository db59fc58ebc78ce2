"""Airflow provider for Yandex AI Studio: text generation that survives what pipelines go through."""

__version__ = "0.1.0"
