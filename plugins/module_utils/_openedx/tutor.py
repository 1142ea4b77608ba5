# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Tutor project as C(tutor config save) left it: what its cluster will hold, and its settings.

The files hold passwords. None of them leaves here: what could show one is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._model.observed import (
    Observed,
    ObservedObject,
    autoscaler,
    observed_object,
)
from .._model.sources import (
    Source,
    holds_password,
    source_of,
)
from .kustomization import KUSTOMIZATION, Kustomized, kustomized, read_bytes, read_documents
from .kustomize_patches import KustomizationError, Manifest, pod_spec

#: The variable that names a project, for messages.
VARIABLE = "celery_workers_tutor_root"
SERVICES = ("lms", "cms")
AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject", "VerticalPodAutoscaler")

_POLICY = re.compile(r"^\s*maxmemory-policy\s+(\S+)", re.MULTILINE)
#: Names of Tutor's settings that hold a secret. ID is none: it stands in labels.
_SECRET_SETTING = re.compile(r"PASS|SECRET|TOKEN|KEY|AUTH|CREDENTIAL|PRIVATE|DSN", re.IGNORECASE)
#: A secret this long is looked for inside of other texts, too.
_LONG = 8


class TutorError(ValueError):
    """A folder is no rendered Tutor project. Its message names the variable, what is missing and what to run."""


#: What reading raises where an object has not the shape that Kubernetes gives it.
MISSHAPEN = (AttributeError, KeyError, TypeError, re.error)


def misshapen(root: object, error: Exception) -> str:
    """What to do about a project with such an object."""
    return (
        f"celery_workers_tutor_root: an object in {root} has not the shape that Kubernetes gives it ({error}). Look at "
        "what plugins add to it (k8s-override, k8s-deployments), and render it again: tutor config save."
    )


@dataclass(frozen=True)
class TutorProject:
    """A rendered Tutor project.

    :param version: the release that rendered it.
    :param settings: what differs from Tutor's defaults (C(config.yml)), passwords included.
    """

    root: Path
    version: str = ""
    rendered: Kustomized = field(default_factory=Kustomized)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def environment(self) -> Path:
        """What C(kubectl apply --kustomize) gets."""
        return self.root / "env"

    @property
    def namespace(self) -> str:
        """Namespace of the site."""
        return self.rendered.namespace or str(self.settings.get("K8S_NAMESPACE") or "openedx")

    def setting(self, name: str) -> str:
        """A setting as text; empty where it has Tutor's default, or is computed from others."""
        value = self.settings.get(name)
        text = "" if value is None or isinstance(value, (dict, list)) else str(value)
        return "" if "{{" in text or "{%" in text else text


def read_project(root: Path) -> TutorProject:
    """Read a project.

    :raises TutorError: if the folder is none, or was never rendered.
    """
    try:
        _check_root(root)
        # The file itself may be a link, to a checkout for example.
        config = (root / "config.yml").resolve()
        settings = read_documents(config.parent, config.name)
        environment = root / "env"
        version = (
            read_bytes(environment, "version").decode(errors="replace") if _is_file(environment, "version") else ""
        )
        return TutorProject(root, version.strip(), kustomized(environment), settings[0] if settings else {})
    except KustomizationError as error:
        raise TutorError(f"{VARIABLE}: {error} Render the project again: tutor config save") from error


def _check_root(root: Path) -> None:
    printed = "Write what this prints: tutor config printroot"
    if not _is_folder(root):
        raise TutorError(f"{VARIABLE}: there is no folder {root}. {printed}")
    if not _is_file(root, "config.yml"):
        above = root.parent
        if _is_file(root, KUSTOMIZATION) and _is_file(above, "config.yml"):
            raise TutorError(f"{VARIABLE}: {root} is only the rendered part of a Tutor project. Write {above}")
        raise TutorError(
            f"{VARIABLE}: {root} has no config.yml, so it is no Tutor project. {printed} (a new one is made "
            "with: tutor config save)"
        )
    if not _is_file(root, f"env/{KUSTOMIZATION}"):
        raise TutorError(
            f"{VARIABLE}: {root} has no env/{KUSTOMIZATION}, so the project was never rendered. Run: tutor config save"
        )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_file(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except OSError:
        return False


# What the cluster will hold


def observed_of(project: TutorProject) -> Observed:
    """The rendered Deployments as the builders want them, as if they had been read from a cluster."""
    secrets = TutorSecrets.of(project)
    deployments = project.rendered.of_kind("Deployment")
    found = (autoscaler(kind, raw) for kind in AUTOSCALERS for raw in project.rendered.of_kind(kind))
    return Observed(
        objects=tuple(secrets.taken_from(observed_object("Deployment", raw)) for raw in deployments),
        autoscalers=tuple(item for item in found if item is not None),
        sources=tuple(secrets.taken_from_source(source_of(raw)) for raw in deployments),
        redis_policies=dict(_redis_policies(project)),
        namespace=project.namespace,
        config_maps=tuple(sorted(project.rendered.texts)),
    )


def read_observed_project(root: str) -> tuple[Observed, tuple[str, ...]]:
    """What a rendered project says of a cluster that nobody asks, and what is to be known of it.

    :raises TutorError: if it cannot be read.
    """
    try:
        project = read_project(Path(root))
        return observed_of(project), tuple(project.rendered.warnings)
    except MISSHAPEN as error:
        raise TutorError(misshapen(root, error)) from error


def _redis_policies(project: TutorProject) -> Iterator[tuple[str, str]]:
    """What each Redis of the site does when its memory is full, as the ConfigMaps that it mounts say."""
    for raw in project.rendered.of_kind("Deployment"):
        volumes = pod_spec(raw).get("volumes") or []
        names = [str((volume.get("configMap") or {}).get("name")) for volume in volumes]
        texts = [text for name in names for text in project.rendered.texts.get(name, ())]
        # The last one counts (Redis 7).
        for policy in [match[1] for text in texts for match in _POLICY.finditer(text)][-1:]:
            yield str(raw["metadata"]["name"]), policy


@dataclass(frozen=True)
class TutorSecrets:
    """Values that nothing may show."""

    values: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, project: TutorProject) -> TutorSecrets:
        """The secret settings of a project, and what the platform's settings say of the broker."""
        found = {str(value) for name, value in project.settings.items() if _SECRET_SETTING.search(str(name)) and value}
        found |= {str(_platform(project, name).get("CELERY_BROKER_PASSWORD") or "") for name in SERVICES}
        return cls(frozenset(found - {"", "True", "False"}))

    def shown_by(self, text: Any) -> bool:
        """Whether a text is one of them, or holds a long one."""
        return isinstance(text, str) and (
            text in self.values
            or holds_password([text])
            or any(len(value) >= _LONG and value in text for value in self.values)
        )

    def taken_from(self, item: ObservedObject) -> ObservedObject:
        """An object without the command line and the annotations that show one."""
        shown = any(self.shown_by(word) for words in item.words.values() for word in words)
        annotations = {name: value for name, value in item.annotations.items() if not self.shown_by(value)}
        return replace(item, words={} if shown else item.words, annotations=annotations)

    def taken_from_source(self, source: Source) -> Source:
        """A source whose environment names them only, as for those that are recognised by their names."""
        env = source.keys.get("env") or []
        shown = [item["name"] for item in env if self.shown_by(item.get("value"))]
        if not shown:
            return source
        kept = {**source.keys, "env": [item for item in env if item["name"] not in shown]}
        return replace(source, keys=kept, secret_env=(*source.secret_env, *shown))


# Settings


@dataclass(frozen=True)
class TutorBroker:
    """The Redis of the queues, as the platform's settings name it.

    :param transport: kombu's word for it. Tutor itself writes C(redis).
    """

    transport: str = "redis"
    host: str = "redis"
    port: int = 6379
    database: int = 0
    username: str = ""
    has_password: bool = False
    uses_tls: bool = False


def broker_of(project: TutorProject, service: str = "lms") -> TutorBroker:
    """The broker of a service."""
    found = _platform(project, service)
    default = TutorBroker(
        host=project.setting("REDIS_HOST") or TutorBroker.host,
        port=_number(project.setting("REDIS_PORT"), TutorBroker.port),
        database=_number(project.setting("OPENEDX_CELERY_REDIS_DB"), TutorBroker.database),
        username=project.setting("REDIS_USERNAME"),
        has_password=bool(project.settings.get("REDIS_PASSWORD")),
    )
    if "CELERY_BROKER_HOSTNAME" not in found:
        return default
    host, _colon, port = str(found["CELERY_BROKER_HOSTNAME"]).rpartition(":")
    transport = str(found.get("CELERY_BROKER_TRANSPORT") or default.transport)
    return TutorBroker(
        transport="redis" if transport == "rediss" else transport,
        host=(host or port).strip("[]"),
        port=_number(port, TutorBroker.port),
        database=_number(found.get("CELERY_BROKER_VHOST"), TutorBroker.database),
        username=str(found.get("CELERY_BROKER_USER") or ""),
        has_password=bool(found.get("CELERY_BROKER_PASSWORD")),
        uses_tls=transport == "rediss" or bool(found.get("BROKER_USE_SSL") or found.get("CELERY_BROKER_USE_SSL")),
    )


def lms_host(project: TutorProject) -> str:
    """Host name of the site."""
    return str(_platform(project, "lms").get("LMS_BASE") or project.setting("LMS_HOST")).partition(":")[0]


def _number(value: Any, default: int) -> int:
    text = str(value if value is not None else "").strip("/")
    return int(text) if text.isdecimal() else default


def _platform(project: TutorProject, service: str) -> Manifest:
    """The YAML settings of LMS or CMS; empty if they cannot be read."""
    try:
        found = read_documents(project.environment, f"apps/openedx/config/{service}.env.yml")
    except KustomizationError:
        return {}
    return found[0] if found else {}


# Workers


# Routes
