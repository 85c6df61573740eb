"""What the hub counts for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()

HOOKS = Counter("switchyard_hooks", "Inbound requests by kind and answer", ("kind", "status"), registry=REGISTRY)
LEADS = Counter("switchyard_requests_understood", "Requests that became a lead or joined one", registry=REGISTRY)
JOBS = Counter("switchyard_jobs", "Jobs done by kind and outcome", ("kind", "outcome"), registry=REGISTRY)
SENT = Counter("switchyard_sent", "Parts sent by kind and outcome", ("kind", "outcome"), registry=REGISTRY)
NOTIFICATIONS = Counter("switchyard_notifications", "Notifications by channel", ("through",), registry=REGISTRY)
WAITING = Gauge("switchyard_ingress_waiting", "Requests that are not durable yet", registry=REGISTRY)
QUEUE_AGE = Gauge("switchyard_queue_age_seconds", "Age of the oldest due row by queue", ("queue",), registry=REGISTRY)
STREAMS = Gauge("switchyard_live_streams", "Open event streams", registry=REGISTRY)
REQUESTS = Histogram(
    "switchyard_http_seconds",
    "Time to answer workspace and API requests",
    ("area",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=REGISTRY,
)


def page() -> bytes:
    """Return everything in Prometheus's text format."""
    return generate_latest(REGISTRY)
