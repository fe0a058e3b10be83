"""/metrics for Prometheus, on a listener of its own: what an operator sees isn't for whoever reaches the pages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

# Seconds; an act is one fsync, so a few milliseconds is usual and a tenth of a second is a slow disk.
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

Figures = Callable[[], Mapping[str, Any]]


class _Source(Collector):
    """Figures of a part that keeps its own, read when Prometheus asks.

    A number becomes `vardrum_<prefix>_<name>`; a mapping becomes the same with one sample for each key, under the label
    `reason` where the name tells of drops, else `kind`.
    """

    def __init__(self, prefix: str, figures: Figures, *, gauges: bool) -> None:
        self._prefix = prefix
        self._figures = figures
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for name, value in sorted(self._figures().items()):
            counted = not self._gauges and not name.endswith(("_now", "peers", "rooms", "participants", "bytes_held"))
            family = CounterMetricFamily if counted else GaugeMetricFamily
            full = f"vardrum_{self._prefix}_{re.sub('[^a-z0-9_]', '_', name.lower())}"
            if isinstance(value, Mapping):
                label = "reason" if "drop" in name or "refused" in name else "kind"
                metric = family(full, name.replace("_", " "), labels=[label])
                for key, one in sorted(value.items()):
                    metric.add_metric([str(key)], float(one))
            else:
                metric = family(full, name.replace("_", " "), value=float(value))
            yield metric


class Metrics:
    """The figures of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._seconds = Histogram(
            "vardrum_http_request_seconds",
            "Time from a request to its answer",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._answers = Counter(
            "vardrum_http_answers", "Answers by status", ["method", "route", "status"], registry=self.registry
        )

    def add(self, prefix: str, figures: Figures, *, gauges: bool = False) -> None:
        """Adds a part's own figures, as `_Source` says."""
        self.registry.register(_Source(prefix, figures, gauges=gauges))

    def middleware(self) -> Any:
        """Counts and times every request, by route and never by address."""

        @web.middleware
        async def measure(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
            began = time.monotonic()
            status = 500
            try:
                answer: web.StreamResponse = await handler(request)
                status = answer.status
                return answer
            finally:
                resource = request.match_info.route.resource
                route = resource.canonical if resource is not None else "none"
                # Methods are the client's words; only those we know may become labels.
                method = request.method if request.method in ("GET", "POST", "PUT", "PATCH", "DELETE") else "other"
                self._answers.labels(method, route, str(status)).inc()
                if status != 101:
                    self._seconds.labels(method, route).observe(time.monotonic() - began)

        return measure

    def app(self) -> web.Application:
        """The listener's application."""

        async def show(_: web.Request) -> web.Response:
            return web.Response(body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

        app = web.Application()
        app.router.add_get("/metrics", show)
        return app
