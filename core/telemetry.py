"""Logs, one line an event; and the telemetry of third parties, switched off."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import structlog

_SILENCED = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def silence_third_parties() -> None:
    """Tell MLflow, Evidently and Hugging Face not to phone home. Call before any of them is imported."""
    for name, value in _SILENCED.items():
        os.environ.setdefault(name, value)


def configure_logging(role: str, *, level: str | None = None) -> None:
    """Log to standard error: for people on a terminal, as JSON elsewhere. Every line carries the role.

    The level comes from `level`, else from the environment variable `TUTELAGE_LOG_LEVEL`, else it is `info`.
    """
    silence_third_parties()
    chosen = (level or os.environ.get("TUTELAGE_LOG_LEVEL", "info")).upper()
    threshold = logging.getLevelNamesMapping().get(chosen, logging.INFO)
    renderer: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s", force=True)
