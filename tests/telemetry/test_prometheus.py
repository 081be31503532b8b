"""The collector for Prometheus."""

from __future__ import annotations

import gc
from dataclasses import fields

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from runware_ws import Client, ConfigurationError, Stats
from runware_ws.telemetry.prometheus import ClientCollector
from tests import virtual
from tests.client.support import KEY, NOWHERE, ample, ask, client_of, until

pytestmark = pytest.mark.anyio

anyio_backend = virtual.anyio_backend


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """What a scrape gives: by name, client and further label."""
    page = generate_latest(registry).decode()
    return {
        (sample.name, sample.labels.pop("client"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@ample
async def test_several_clients_in_one_registry() -> None:
    registry = CollectorRegistry(auto_describe=True)
    collector = ClientCollector()
    registry.register(collector)
    async with (
        virtual.serving(KEY, latency="1s") as emulator,
        client_of(emulator) as one,
        client_of(emulator) as other,
    ):
        collector.add("one", one)
        collector.add("other", other)
        await one.ready()
        await other.ready()
        await one.run(ask())
        emulator.faults.cut()
        await until(lambda: other.stats().connections == 2)
        handle = await other.submit(ask())
        found = samples(registry)
        await handle
    assert found["runware_ws_tasks_submitted_total", "one"] == 1
    assert found["runware_ws_tasks_ended_total", "one", "answered"] == 1
    assert found["runware_ws_tasks_ended_total", "other", "answered"] == 0
    assert found["runware_ws_tasks_recovered_total", "one", "live"] == 1
    assert found["runware_ws_tasks_in_flight", "other"] == 1
    assert found["runware_ws_tasks_pending", "one"] == 0
    assert found["runware_ws_reconnects_total", "other"] == 1
    assert found["runware_ws_connected", "other"] == 1
    after = samples(registry)
    assert after["runware_ws_connected", "other"] == 0
    assert after["runware_ws_tasks_ended_total", "other", "answered"] == 1


class Numbers:
    """A client with a different number in each field."""

    def __init__(self) -> None:
        names = [field.name for field in fields(Stats)]
        values = {name: place + 1_000 for place, name in enumerate(names)}
        self.values = {
            **values,
            "recovered_by": {"live": 7_777},
            "state": "ready",
            "session_uuid": "planted",
        }

    def stats(self) -> Stats:
        return Stats(**self.values)  # type: ignore[arg-type]


def test_every_count_is_shown() -> None:
    registry = CollectorRegistry()
    numbers = Numbers()
    registry.register(ClientCollector(main=numbers))
    found = list(samples(registry).values())
    for name, value in numbers.values.items():
        if isinstance(value, int):
            assert found.count(value) == 1, name
    assert 7_777 in found
    assert "planted" not in generate_latest(registry).decode()


def test_names_are_unique_and_clients_are_not_kept() -> None:
    registry = CollectorRegistry()
    first, second = Numbers(), Numbers()
    collector = ClientCollector(main=first)
    registry.register(collector)
    collector.add("main", first)
    with pytest.raises(ConfigurationError, match="'main'"):
        collector.add("main", second)
    collector.add("second", second)
    collector.remove("second")
    collector.remove("never there")
    assert len({labels[1] for labels in samples(registry)}) == 1
    del first
    gc.collect()
    assert samples(registry) == {}


def test_a_client_that_was_not_started_shows_nothing() -> None:
    registry = CollectorRegistry()
    client = Client(NOWHERE, api_key=KEY)
    registry.register(ClientCollector(main=client))
    assert samples(registry) == {}


def test_a_second_collector_in_one_registry_is_refused() -> None:
    registry = CollectorRegistry()
    registry.register(ClientCollector())
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(ClientCollector())
