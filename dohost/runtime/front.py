"""What stands before a worker that has static assets: it decides which requests reach the worker."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from workers import Request, Response

from dohost.config import WorkerConfig
from dohost.errors import UserCodeError
from dohost.runtime.worker import Fetch
from dohost.simulators.assets_rules import place_of
from dohost.telemetry import Log

if TYPE_CHECKING:
    from dohost.simulators.assets import Assets, Site

# The assets of workers, by their names.
Sites: TypeAlias = "dict[str, Site]"
RULE_IGNORED = "assets.rule_ignored"


class AssetsFront:
    """Gives a request to the assets if they have an answer, or to the worker."""

    def __init__(self, assets: Assets, config: WorkerConfig, worker: Fetch) -> None:
        """Raises: AssertionError if the worker has no assets."""
        assert config.assets is not None, "made for workers with assets"
        self._assets = assets
        self._worker = worker
        self._is_site = config.main is None
        self._is_worker_first = config.assets.is_worker_first
        self._asset_routes = _any_of(config.assets.asset_routes)
        self._worker_routes = _any_of(config.assets.worker_routes)
        self._has_routes = bool(config.assets.worker_routes)
        self._helps_navigation = config.has_flag(
            "assets_navigation_prefers_asset_serving", since="2025-04-01"
        ) and ("assets_navigation_has_no_effect" not in config.compatibility_flags)

    def fetch(
        self, request: Request, *, props: Mapping[str, object] | None = None
    ) -> Awaitable[Response]:
        """Answer a request that came for the worker."""
        if self._is_site or self._is_for_assets(request):
            return self._assets.answer(request)
        return self._worker(request, props=props)

    def _is_for_assets(self, request: Request) -> bool:
        path = place_of(request.url)[1]
        if self._asset_routes(path):
            return True
        if self._is_worker_first or self._worker_routes(path):
            return False
        # What stands for missing files would take every request from the worker; a browser that
        # opens a page may have it, and where routes say what is the worker's, so may all the rest.
        falls_back = self._has_routes or (
            self._helps_navigation and request.headers.get("sec-fetch-mode") == "navigate"
        )
        return self._assets.claims(request, falls_back=falls_back)


def read_sites(workers: Sequence[WorkerConfig], persist: Path, log: Log) -> Sites:
    """Read the assets of every worker that has any, by its name; blocks. Raises: UserCodeError."""
    sites: Sites = {}
    for worker in workers:
        if worker.assets is None:
            continue
        from dohost.simulators.assets import read_site  # lazy: most workers have none

        try:
            site = read_site(worker.assets, data=persist)
        except OSError as error:
            raise UserCodeError(f"The assets can't be read: {error}") from error
        for complaint in site.complaints:
            log.event(RULE_IGNORED, level="warn", rule=complaint)
        sites[worker.name] = site
    return sites


def _any_of(routes: Sequence[str]) -> Callable[[str], object]:
    """Return what tells whether one of `routes` takes a path; a star takes anything."""
    expressions = (".*".join(map(re.escape, route.split("*"))) for route in routes)
    return re.compile("|".join(expressions) if routes else r"(?!)").fullmatch
