"""One set of metrics of several workers: each worker's own, read when somebody asks, with the label `worker`.

A worker that does not answer in time is left out, and shows as `genie_worker_up` 0.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_PATIENCE_S = 3.0
"""How long a worker may take to answer."""

LABEL = "worker"


class Gathered(Collector):
    """Collects from workers.

    Args:
        addresses: gives the address of each worker's metrics by its number; empty where it has none yet.
        restarts: gives how often workers were started again after they had ended by themselves.

    """

    def __init__(self, addresses: Callable[[], Mapping[int, str]], restarts: Callable[[], int]) -> None:
        self._addresses, self._restarts = addresses, restarts

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: there may be no worker yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of every worker."""
        addresses = self._addresses()
        with ThreadPoolExecutor(max(1, len(addresses))) as pool:
            texts = dict(zip(addresses, pool.map(_read, addresses.values()), strict=True))
        yield from merged({index: text for index, text in texts.items() if text is not None})
        up = GaugeMetricFamily("genie_worker_up", "Whether a worker answers", labels=[LABEL])
        for index, text in texts.items():
            up.add_metric([str(index)], float(text is not None))
        yield up
        yield CounterMetricFamily(
            "genie_worker_restarts", "Workers that ended by themselves and were started again", value=self._restarts()
        )


def merged(texts: Mapping[int, str]) -> Iterator[Metric]:
    """Join expositions in Prometheus's text format, by worker, into one family a metric, with the label `worker`."""
    families: dict[str, Metric] = {}
    for index, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text):
            whole = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type, family.unit)
            )
            for sample in family.samples:
                whole.samples.append(sample._replace(labels={**sample.labels, LABEL: str(index)}))
    yield from families.values()


def _read(address: str) -> str | None:
    if not address:
        return None
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


__all__ = ["LABEL", "Gathered", "merged"]
