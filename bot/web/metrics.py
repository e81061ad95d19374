"""The page's figures for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

__all__ = ["WebMetrics"]

METHODS = {"GET", "HEAD", "POST"}


class WebMetrics:
    """Counts into the process's registry, which ``/metrics`` shows whole."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests = Counter(
            "troupe_web_requests", "Answered requests.", ("method", "status"), registry=registry
        )
        self.streams = Gauge("troupe_web_streams", "Pages that follow a conversation.", registry=registry)

    def answered(self, method: str, status: int) -> None:
        known = method if method in METHODS else "other"
        self._requests.labels(known, f"{status // 100}xx").inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)
