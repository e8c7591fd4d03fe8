"""The page at `/cdn-cgi/metrics`: what the host, its server and its process say of themselves, named.

Figures of the program itself, like a gateway's, are the program's own to show. The names of the process's are
those that all of Prometheus's client libraries give them, so that ready-made dashboards find them.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterator

from dohost import __version__
from dohost.cli.exposition import Family, Sample, counter, gauge, histogram, render
from dohost.cli.process_figures import ProcessFigures, read_process
from dohost.runtime.alarms import AlarmEnd
from dohost.runtime.figures import ClassFigures, HostFigures, read_figures
from dohost.runtime.host import Host
from dohost.server.figures import ServerFigures
from dohost.storage.connection import sqlite_version


async def metrics_page(host: Host, server: ServerFigures, *, started_s: float) -> str:
    """Return the page; `started_s` is when the server began. Raises: ShuttingDown."""
    process = await asyncio.to_thread(read_process)
    figures = await read_figures(host)
    return render(
        (
            *_of_build(figures, started_s),
            *_of_server(server),
            *_of_classes(figures),
            *_of_storage(figures),
            *_of_alarms(figures),
            histogram(
                "dohost_loop_lag_seconds",
                "How late the event loop came to what was due, asked four times a second.",
                figures.loop_lag,
            ),
            *_of_process(process),
        )
    )


def _of_build(figures: HostFigures, started_s: float) -> Iterator[Family]:
    versions = {
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite_version(),
    }
    yield gauge("dohost_build_info", "What runs; always 1.", [Sample(1, versions)])
    yield gauge("dohost_start_time_seconds", "When the server began, since the epoch.", started_s)
    yield counter("dohost_code_loads_total", "Loads of the program's code.", figures.loads)
    yield counter(
        "dohost_code_load_failures_total",
        "Loads of code that was wrong; the code before it went on.",
        figures.loads_failed,
    )


def _of_server(server: ServerFigures) -> Iterator[Family]:
    yield counter(
        "dohost_http_requests_total",
        'Requests by the class of their status; "none" where the client left before the answer.',
        [Sample(count, {"status": name}) for name, count in server.answers.items()],
    )
    yield histogram(
        "dohost_http_request_duration_seconds",
        "From the head of a request to the end of its answer.",
        server.durations,
    )
    yield gauge(
        "dohost_http_requests_in_flight",
        "Requests whose answer has not ended, this one included.",
        server.in_flight,
    )
    yield counter(
        "dohost_http_refusals_total",
        "Refusals of what never became a request: malformed, too large, too slow, one too many.",
        [Sample(n, {"status": str(status)}) for status, n in sorted(server.refusals.items())],
    )
    yield gauge(
        "dohost_connections",
        "Open connections of clients by what is spoken on them.",
        [
            Sample(server.connections, {"protocol": "http"}),
            Sample(server.connections_upgraded, {"protocol": "websocket"}),
        ],
    )
    yield counter(
        "dohost_connections_accepted_total",
        "Connections that clients have opened.",
        server.connections_accepted,
    )


def _of_classes(figures: HostFigures) -> Iterator[Family]:
    classes = figures.classes

    def each(value: Callable[[ClassFigures], float]) -> list[Sample]:
        return [Sample(value(one), _labels(one)) for one in classes]

    yield gauge("dohost_objects_live", "Objects in memory.", each(lambda one: one.live))
    yield gauge(
        "dohost_objects_known",
        "Objects that have stored something; left out while the disk does not say.",
        [Sample(one.known, _labels(one)) for one in classes if one.known is not None],
    )
    yield gauge("dohost_facets_live", "Facets in memory, of all objects.", figures.facets_live)
    yield counter(
        "dohost_object_calls_total",
        "Calls and requests that were sent to objects and facets inside them.",
        each(lambda one: one.calls),
    )
    yield counter(
        "dohost_object_evictions_total",
        "Instances that were dropped from memory because they were idle.",
        each(lambda one: one.evictions),
    )
    yield counter(
        "dohost_object_resets_total",
        "Instances that ended with an error, by cause.",
        [
            Sample(count, {**_labels(one), "cause": cause})
            for one in classes
            for cause, count in sorted(one.resets.items())
        ],
    )
    yield gauge(
        "dohost_websockets",
        "Hibernatable WebSockets, awake or hibernated with their object.",
        [
            Sample(count, {**_labels(one), "state": state})
            for one in classes
            for state, count in (("awake", one.sockets_awake), ("hibernated", one.sockets_asleep))
        ],
    )


def _labels(figures: ClassFigures) -> dict[str, str]:
    return {"worker": figures.worker, "class": figures.class_name}


def _of_storage(figures: HostFigures) -> Iterator[Family]:
    yield counter(
        "dohost_commits_total",
        "Commits of objects' files. By the count of syncs: how many commits share one.",
        figures.commits,
    )
    yield histogram(
        "dohost_sync_duration_seconds",
        "How long the disk took to make commits durable.",
        figures.sync_times,
    )
    yield counter("dohost_sync_failures_total", "Syncs that failed.", figures.syncs_failed)
    yield counter(
        "dohost_checkpoints_total", "Logs that were copied into files.", figures.checkpoints
    )
    yield counter(
        "dohost_checkpoint_failures_total",
        "Logs that could not be copied, and are tried again.",
        figures.checkpoints_failed,
    )
    yield gauge(
        "dohost_log_bytes",
        "Bytes in the write-ahead logs of live objects that are not copied yet.",
        figures.log_bytes,
    )


def _of_alarms(figures: HostFigures) -> Iterator[Family]:
    yield gauge("dohost_alarms", "Alarms that are set, the running ones included.", figures.alarms)
    yield gauge("dohost_alarms_running", "Alarms whose handlers run.", figures.alarms_running)
    yield counter(
        "dohost_alarm_runs_total",
        "Alarms that fired, by how their run ended; given up at once if the class has no handler.",
        [Sample(figures.alarm_ends.get(end, 0), {"end": end.value}) for end in AlarmEnd],
    )
    yield counter(
        "dohost_alarm_retries_total",
        "Alarms that were to be tried again after a failure.",
        figures.alarm_retries,
    )
    yield counter(
        "dohost_alarms_given_up_total",
        "Alarms that were deleted because the last try had failed.",
        figures.alarms_given_up,
    )


def _of_process(process: ProcessFigures) -> Iterator[Family]:
    yield counter("process_cpu_seconds_total", "Processor time.", process.cpu_s)
    known = (
        ("process_resident_memory_bytes", "Memory in use.", process.resident_bytes),
        ("process_open_fds", "Open file descriptors.", process.descriptors),
        ("process_max_fds", "File descriptors that may be open.", process.descriptors_max),
    )
    for name, text, value in known:
        if value is not None:
            yield gauge(name, text, value)
