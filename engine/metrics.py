"""The engine's metrics; their names stand here and nowhere else."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

FIRST_TOKEN_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
REQUEST_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One registry per engine."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.open = Gauge("troupe_engine_requests_open", "Running and waiting.", registry=self._registry)
        self.adapters = Gauge("troupe_engine_adapters_loaded", "Names served.", registry=self._registry)
        self.finished = Counter(
            "troupe_engine_requests_finished",
            "By finish reason.",
            ["finished_reason"],
            registry=self._registry,
        )
        self.refused = Counter(
            "troupe_engine_requests_refused", "Because the queue was full.", registry=self._registry
        )
        self.prompt_tokens = Counter("troupe_engine_prompt_tokens", "Read.", registry=self._registry)
        self.reply_tokens = Counter("troupe_engine_reply_tokens", "Written.", registry=self._registry)
        self.first_token = Histogram(
            "troupe_engine_first_token_seconds",
            "From arrival to the first token.",
            buckets=FIRST_TOKEN_BUCKETS_S,
            registry=self._registry,
        )
        self.request = Histogram(
            "troupe_engine_request_seconds",
            "From arrival to the end.",
            buckets=REQUEST_BUCKETS_S,
            registry=self._registry,
        )

    def text(self) -> bytes:
        return generate_latest(self._registry)
