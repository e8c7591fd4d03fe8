"""From files and flags to the Workers of one process.

Everything wrong in every file is collected and raised together, so that one run of an editor fixes
all of it. Warnings and notes come back as values: whoever called decides where they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from dohost.config.document import Document, find_config, read_document, shown_path
from dohost.config.local_values import read_hyperdrive, read_secrets_store
from dohost.config.model import Json, Loaded, Overrides, WorkerConfig
from dohost.config.secret_files import Secrets, process_environment, read_secrets
from dohost.config.sections import Section, select_section
from dohost.config.shape import Finding, Findings, dotted
from dohost.config.worker import build_worker
from dohost.errors import ConfigError


class _Report:
    """Findings of all files as the lines that people read."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def add(self, document: Document, findings: Findings) -> None:
        self.problems += self._lines(document, findings.problems)
        self.warnings += self._lines(document, findings.warnings)
        unused = dict.fromkeys(
            dotted(tuple(part for part in path if isinstance(part, str)))
            for path in findings.unused
        )
        if unused:
            names = ", ".join(unused)
            self.notes.append(f"{document.label}: accepted, without effect in dohost: {names}")

    @staticmethod
    def _lines(document: Document, findings: Sequence[Finding]) -> list[str]:
        return [f"{document.place(item.path)}: {item.message}" for item in findings]


def load(
    paths: Sequence[Path] | None,
    *,
    cwd: Path,
    env: str | None = None,
    overrides: Overrides | None = None,
    process_env: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the Workers of `paths` (None: the nearest wrangler file), the primary first.

    `env` selects an environment in every file. `process_env` stands for the process's environment.

    Raises:
        ConfigError: with every problem of every file, each with its file, line and key path.
    """
    overrides = overrides or Overrides()
    process_env = process_environment() if process_env is None else process_env
    report = _Report()
    workers: list[WorkerConfig] = []
    files: list[Path] = []
    for index, path in enumerate(paths or [find_config(cwd)]):
        own = overrides if index == 0 else _auxiliary(overrides)
        loader = _Loader(own, env=env, cwd=cwd, process_env=process_env, report=report)
        try:
            worker = loader.worker((cwd / path).resolve(), files)
        except ConfigError as error:
            report.problems += error.problems
            continue
        if worker is not None:
            workers.append(worker)
    _check_names(workers, report)
    if report.problems:
        raise ConfigError(tuple(report.problems), warnings=tuple(report.warnings))
    return Loaded(
        workers=tuple(workers),
        warnings=tuple(report.warnings),
        notes=tuple(dict.fromkeys(report.notes)),
        files=tuple(files),
    )


def _auxiliary(overrides: Overrides) -> Overrides:
    return Overrides(env_files=overrides.env_files)


def _check_names(workers: Sequence[WorkerConfig], report: _Report) -> None:
    first: dict[str, Path] = {}
    for worker in workers:
        other = first.setdefault(worker.name, worker.config_path)
        if other != worker.config_path:
            report.problems.append(
                f'{worker.config_path}: the name "{worker.name}" is taken by {other}; '
                "Workers of one process need different names."
            )


class _Loader:
    def __init__(
        self,
        overrides: Overrides,
        *,
        env: str | None,
        cwd: Path,
        process_env: Mapping[str, str],
        report: _Report,
    ) -> None:
        self._overrides = overrides
        self._env = env
        self._cwd = cwd
        self._process_env = process_env
        self._report = report

    def worker(self, path: Path, files: list[Path]) -> WorkerConfig | None:
        """Read one file; findings go to the report, the files read to `files`."""
        files.append(path)
        document = read_document(path, cwd=self._cwd)
        findings = Findings()
        section = select_section(document, self._env, findings)
        worker = build_worker(document, section, overrides=self._overrides, findings=findings)
        hyperdrive = read_hyperdrive(section, self._process_env, findings)
        self._report.add(document, findings)
        secrets = read_secrets(
            path.parent,
            env=self._env,
            env_files=tuple(self._cwd / file for file in self._overrides.env_files),
            process_env=self._process_env,
            cwd=self._cwd,
        )
        files += secrets.files
        self._report.warnings += secrets.warnings
        self._report.notes += [
            f"Using secrets defined in {shown_path(file, cwd=self._cwd)}" for file in secrets.files
        ]
        if worker is None:
            return None
        stored = read_secrets_store(section, secrets.values)
        self._report.warnings += [
            f'{document.label}: the secret "{each.secret_name}" has no local value: add '
            f"{each.binding} to .dev.vars or .env."
            for each in stored
            if each.value is None
        ]
        worker = msgspec.structs.replace(
            worker, hyperdrive=hyperdrive, secrets_store_secrets=stored
        )
        return self._with_secrets(worker, section, secrets)

    def _with_secrets(
        self, worker: WorkerConfig, section: Section, secrets: Secrets
    ) -> WorkerConfig:
        values = self._declared(worker, section, secrets)
        # The binding of a secret is no variable, though its value stands among them in the file.
        bound = {each.binding for each in worker.secrets_store_secrets}
        values = {name: value for name, value in values.items() if name not in bound}
        variables: dict[str, Json] = {**worker.vars, **values, **self._overrides.vars}
        hidden = frozenset(values) - frozenset(self._overrides.vars)
        return msgspec.structs.replace(worker, vars=variables, secret_names=hidden)

    def _declared(
        self, worker: WorkerConfig, section: Section, secrets: Secrets
    ) -> Mapping[str, str]:
        """Keep only declared names when the file lists the secrets that it requires."""
        table = section.plain("secrets")
        if not isinstance(table, dict) or "required" not in table:
            return secrets.values
        required = msgspec.convert(table["required"], tuple[str, ...])
        values = {
            name: value
            for name, value in secrets.values.items()
            if name in required or name in worker.vars
        }
        for name in required:
            if name not in values and name in self._process_env:
                values[name] = self._process_env[name]
        missing = [name for name in required if name not in values]
        if missing:
            self._report.warnings.append(
                f"Missing required secrets: {', '.join(missing)}. Add them to .dev.vars, .env, "
                "or set as environment variables."
            )
        return values
