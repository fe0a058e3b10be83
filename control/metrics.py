"""/metrics for Prometheus, on a listener of its own: what an operator sees isn't for whoever reaches the pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ..sfu.types import Distribution
from .about import ABOUT

# Seconds; an act is one fsync, so a few milliseconds is usual and a tenth of a second is a slow disk.
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

OURS, DROP = "vardrum_", "drop_"

# A figure that is a mapping has a sample for each of its keys: a label's value, or those of several.
Figure = float | Mapping[str, float] | Mapping[tuple[str, ...], float] | Distribution
Figures = Callable[[], Mapping[str, Figure]]
# A mapping is by shard, unless something else is said.
BY_SHARD = ("shard",)


class _Source(Collector):
    """Figures of a part that keeps its own, read when Prometheus asks.

    A number becomes `vardrum_<prefix>_<name>`, a counter unless it is one of `gauges`; of a mapping, one sample for
    each key; a `Distribution` is a histogram. Whatever begins with `drop_` is one counter,
    `vardrum_<prefix>_dropped_total`, with the rest of its name as the label `reason`.
    """

    def __init__(
        self, prefix: str, figures: Figures, gauges: Collection[str], labels: Mapping[str, Sequence[str]]
    ) -> None:
        self._prefix = f"{OURS}{prefix}_"
        self._figures = figures
        self._gauges = frozenset(gauges)
        self._labels = labels

    def describe(self) -> Iterable[Metric]:
        # Names are known only once the part runs; nothing here may be asked before.
        return ()

    def collect(self) -> Iterator[Metric]:
        dropped = CounterMetricFamily(self._prefix + "dropped", "What went no further, by reason", labels=["reason"])
        for name, value in self._figures().items():
            if isinstance(value, Distribution):
                yield self._histogram(name, value)
            elif isinstance(value, Mapping) or not name.startswith(DROP):
                yield self._family(name, value)
            else:
                dropped.add_metric([name.removeprefix(DROP)], value)
        if dropped.samples:
            yield dropped

    def _family(self, name: str, value: float | Mapping[str, float] | Mapping[tuple[str, ...], float]) -> Metric:
        kind = GaugeMetricFamily if name in self._gauges else CounterMetricFamily
        about = ABOUT.get(self._prefix.removeprefix(OURS) + name) or name.replace("_", " ")
        if not isinstance(value, Mapping):
            return kind(self._prefix + name, about, value=value)
        family = kind(self._prefix + name, about, labels=self._labels.get(name, BY_SHARD))
        for key, one in value.items():
            family.add_metric([key] if isinstance(key, str) else key, one)
        return family

    def _histogram(self, name: str, value: Distribution) -> Metric:
        buckets = [(end, float(count)) for end, count in value.cumulative()]
        return HistogramMetricFamily(self._prefix + name, value.about, buckets=buckets, sum_value=value.sum)


class Metrics:
    """The figures of this process."""

    def __init__(self, version: str) -> None:
        # Each would come with another series that says since when it is counted; nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        build = Gauge("vardrum_build_info", "1, by version", ["version"], registry=self.registry)
        build.labels(version).set(1)
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

    def add(
        self,
        prefix: str,
        figures: Figures,
        gauges: Collection[str],
        *,
        labels: Mapping[str, Sequence[str]] = MappingProxyType({}),
        collectors: Iterable[Collector] = (),
    ) -> None:
        """Adds a part's own figures, as `_Source` says.

        Args:
            labels: of figures that are mappings by something else than the shard, the names of their labels.
            collectors: what the part counts itself, such as histograms made with `registry=None`.
        """
        self.registry.register(_Source(prefix, figures, gauges, labels))
        for one in collectors:
            self.registry.register(one)

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
