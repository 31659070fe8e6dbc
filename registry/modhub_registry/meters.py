"""What the server counts about itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Meters:
    """The numbers of one application; two applications in one process share none."""

    def __init__(self) -> None:
        self.collected = CollectorRegistry()
        self.requests = Counter(
            "modhub_requests",
            "Requests answered, by method, route and status.",
            ["method", "route", "status"],
            registry=self.collected,
        )
        self.seconds = Histogram(
            "modhub_request_seconds",
            "Time from a request to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.collected,
        )
        self.sent = Counter("modhub_sent_bytes", "Bytes of all answers.", registry=self.collected)
        self.repositories = Gauge("modhub_repositories", "Repositories that are there.", registry=self.collected)
