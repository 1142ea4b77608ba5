# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What watches a fleet: what could not work, and what would show a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._build.pods import TLS_VOLUME, ServerContext, server_pod
from .._build.servers import settings_file
from .._celery.brokers import BROKER_VARIABLES
from .._celery.launcher import sentinel_password
from .._model.broker import Broker
from .._model.fleet import Fleet, Monitoring, Server
from .._model.names import flower_secret_name
from .._model.observed import NOTHING
from .._model.variant_keys import Pod
from .._model.watching import (
    Exporter,
    Flower,
    FlowerOauth,
    ServiceMonitor,
)
from .._schema.problems import Problems
from .._schema.secret_signs import looks_secret
from .pods import check_finished_pod
from .references import ServerWords, check_server_references
from .risks import is_accepted, with_rule
from .server_images import too_old

_VARIABLE = "celery_workers_"

#: Arguments of C(celery flower) that have a key of their own, or that would show a secret.
_FLOWER_ARGUMENTS: dict[str, str] = {
    "address": "the Service decides who reaches it",
    "port": "the port is 5555",
    "unix-socket": "the Service needs the port",
    "basic-auth": "set username and password",
    "auth": "set oauth",
    "auth-provider": "set oauth",
    "oauth2-key": "set oauth",
    "oauth2-secret": "set oauth; a command line shows secrets",
    "oauth2-redirect-uri": "set oauth",
    "cookie-secret": "set cookie_secret; a command line shows secrets",
    "broker-api": "it follows from celery_workers_broker.management",
    "broker": "the broker is the fleet's; set celery_workers_broker",
    "persistent": "set persistence",
    "db": "set persistence",
    "state-save-interval": "set persistence",
    "url-prefix": "set url_prefix, which probes and monitors follow",
    "read-only": "set read_only",
    "max-tasks": "set max_tasks",
    "max-workers": "set max_workers",
    "purge-offline-workers": "set purge_offline_workers",
    "inspect-timeout": "set inspect_timeout",
    "task-runtime-metric-buckets": "set runtime_buckets",
    "conf": "the settings are environment variables; set env",
}
_EXPORTER_ARGUMENTS: dict[str, str] = {
    "broker-url": "the broker is the fleet's; set celery_workers_broker",
    "port": "the port is 9808",
    "queues": "the queues are those of the variants",
    "buckets": "set runtime_buckets",
    "worker-timeout": "set worker_timeout",
    "purge-offline-worker-metrics": "set purge_offline_workers",
    "metric-prefix": "dashboard and alerts know the names that begin with celery_",
    "broker-transport-option": "set transport_options on celery_workers_broker",
    "broker-ssl-option": "set tls on celery_workers_broker",
}
#: Options that the role gives the exporter, and that have no key. The environment does not count beside them.
_EXPORTER_FIXED = ("retry-interval", "generic-hostname-task-sent-metric")
_ARGUMENTS = {"flower": _FLOWER_ARGUMENTS, "exporter": _EXPORTER_ARGUMENTS}
#: Every argument is an environment variable as well.
_ENV_PREFIX = {"flower": "FLOWER_", "exporter": "CE_"}
#: At these levels the exporter logs every transport option with its value (0.12.2).
_TELLS_ALL = re.compile(r"(--log-level|CE_LOG_LEVEL)=(DEBUG|TRACE)", re.IGNORECASE)
#: Seconds of a unit of a duration.
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class _Watched:
    """What is judged, and where what is found is noted."""

    fleet: Fleet
    problems: Problems

    @property
    def monitoring(self) -> Monitoring:
        """All parts."""
        return self.fleet.monitoring

    def path(self, part: str, name: str) -> str:
        """Where a key of a part was written, or would be."""
        return self.monitoring.path_of(part, name)

    def accepts(self, part: str, rule: str) -> bool:
        """Whether a rule is accepted for the pod of a part."""
        return rule in self.monitoring.accepted.get(part, ())


def check_watching(fleet: Fleet, output: str, problems: Problems) -> None:
    """Everything that is judged of what watches a fleet.

    :param output: C(manifests) keeps nothing that is generated.
    """
    watched, monitoring = _Watched(fleet, problems), fleet.monitoring
    for part in monitoring.pods:
        _check_server(part, watched)
    if monitoring.flower is not None:
        _check_flower(monitoring.flower, monitoring.flowers, watched, output)
    if monitoring.exporter is not None:
        _check_exporter(monitoring.exporter, monitoring.exporters, watched)
    if monitoring.service_monitor is not None:
        _check_monitor(monitoring.service_monitor, watched)


def _check_monitor(monitor: ServiceMonitor, watched: _Watched) -> None:
    if not watched.monitoring.is_enabled("flower") and not watched.monitoring.is_enabled("exporter"):
        watched.problems.add(
            f"{_VARIABLE}service_monitor_enabled",
            f"there is nothing to scrape; write {_VARIABLE}flower_enabled: true as well.",
        )
    if monitor.scrape_timeout and _seconds(monitor.scrape_timeout) > _seconds(monitor.interval):
        watched.problems.add(
            watched.path("service_monitor", "scrape_timeout"),
            f"a scrape must not take longer than the interval of {monitor.interval}, or Prometheus takes none of it; "
            "shorten it.",
        )


def _check_server(part: str, watched: _Watched) -> None:
    """The pod of Flower or of the exporter."""
    pod = watched.monitoring.pods[part]
    _check_environment(part, pod, watched)
    for container in pod.pod_overrides.get("containers", []):
        for name in sorted({"args", "command"} & set(container)) if container.get("name") == part else ():
            watched.problems.add(
                watched.path(part, "pod_overrides"), f"{name} of its container is ours; write extra_params instead."
            )
    _check_image(part, pod.image, getattr(watched.monitoring, part), watched)
    _check_references(part, pod, watched)
    _check_finished(part, pod, watched)


def _check_environment(part: str, pod: Pod, watched: _Watched) -> None:
    for key, entry in _environment(pod):
        name = entry["name"]
        option = name.removeprefix(_ENV_PREFIX[part]).lower().replace("_", "-")
        path = watched.path(part, key)
        if name.startswith(_ENV_PREFIX[part]) and option in _ARGUMENTS[part]:
            watched.problems.add(path, f"{name} is refused: {_ARGUMENTS[part][option]}.")
        elif part == "exporter" and name.startswith("CE_") and option in _EXPORTER_FIXED:
            watched.problems.add(
                path, f"{name} has no effect, because the command line has --{option}; write it in extra_params."
            )
        elif part == "flower" and name in BROKER_VARIABLES:
            watched.problems.add(path, f"{name} is refused: {_ARGUMENTS[part]['broker']}.")
        elif looks_secret(name, entry.get("value")) and not watched.accepts(part, "plain-secret"):
            watched.problems.add(
                path,
                f"{name} looks like a secret, and anyone who can read Deployments would see it; take "
                "it from an existing Secret: {name: …, valueFrom: {secretKeyRef: {name: …, key: …}}}. Or accept it "
                "with accept_risks: [plain-secret] if it is none.",
            )


def _check_image(part: str, image: str, keys: object, watched: _Watched) -> None:
    if watched.accepts(part, "version") or is_accepted("version", watched.fleet.variants):
        return
    for fault in too_old(part, image, getattr(keys, "read_only", False), getattr(keys, "extra_params", ())):
        watched.problems.add(watched.path(part, fault.key), with_rule(fault.message, "version"))


def _check_references(part: str, pod: Pod, watched: _Watched) -> None:
    """Our own entries are beside those of the user: they begin with CELERY_ or the prefix of the part."""
    words = getattr(getattr(watched.monitoring, part), "extra_params", ())
    ours = ("CELERY_", *filter(None, _ENV_PREFIX.values()))
    given = ServerWords(words, watched.accepts(part, "secret-argument"), ours)
    check_server_references(part, pod, given, lambda key: watched.path(part, key), watched.problems)


def _check_finished(part: str, pod: Pod, watched: _Watched) -> None:
    """The pod as a whole, unless one of its keys is wrong already."""
    if any(problem.path.startswith(f"{_VARIABLE}{part}") for problem in watched.problems.found):
        return
    ours = ("settings", TLS_VOLUME, f"{part}-0", f"{part}-1")
    context = ServerContext(part, (), (), 1, "/", Broker(), {}, {}, NOTHING)
    spec = server_pod(pod, context)["spec"]
    check_finished_pod(spec, part, pod.pod_overrides, lambda key: watched.path(part, key), watched.problems, ours)


def _seconds(duration: str) -> float:
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|[smhd])", duration))


def _environment(pod: Pod) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every environment entry that the user wrote, with the key it stands under."""
    for entry in pod.env:
        yield "env", entry
    for containers in ("containers", "initContainers"):
        for container in pod.pod_overrides.get(containers, ()):
            for entry in container.get("env", ()):
                yield "pod_overrides", entry


def _check_flower(flower: Flower, flowers: tuple[Server, ...], watched: _Watched, output: str) -> None:
    problems = watched.problems
    _check_arguments("flower", flower.extra_params, watched)
    _check_buckets("flower", flower.runtime_buckets, watched)
    _check_secret(flower, flowers, watched)
    if flower.persistence is not None and flower.persistence.existing_claim and len(flowers) > 1:
        problems.add(
            f"{watched.path('flower', 'persistence')}.existing_claim",
            f"{' and '.join(server.name for server in flowers)} would write to one claim, each over the list of the "
            "other; leave it out, so that each gets a claim of its own.",
        )
    _check_settings(flower, flowers, watched)
    if flower.oauth is not None:
        _check_oauth(flower, flower.oauth, watched)
    _check_exposure(flower, watched)
    if output == "manifests":
        _check_given(flower, watched)


def _check_secret(flower: Flower, flowers: tuple[Server, ...], watched: _Watched) -> None:
    """An existing Secret: its name, and what would be said twice beside it."""
    problems = watched.problems
    if flower.secret is None:
        return
    if not flower.secret.name:
        problems.add(watched.path("flower", "secret"), "name the existing Secret.")
    if flower.secret.name in [flower_secret_name(server.name) for server in flowers]:
        problems.add(
            f"{watched.path('flower', 'secret')}.name",
            f"{flower.secret.name} is the Secret that the role makes itself, and what is generated in it stays; leave "
            "secret out, or name another one.",
        )
    if flower.cookie_secret and (flower.oauth is None or flower.secret.cookie_secret_key):
        problems.add(
            watched.path("flower", "cookie_secret"),
            "nothing would read it here; leave it out, or take secret.cookie_secret_key out and log in with oauth.",
        )
    if flower.password:
        problems.add(
            watched.path("flower", "secret"),
            "secret names an existing Secret and password makes one; write one of them.",
        )


def _check_exposure(flower: Flower, watched: _Watched) -> None:
    """Who reaches Flower from outside, and how."""
    problems = watched.problems
    for name, exposed in (("ingress", flower.ingress), ("http_route", flower.http_route)):
        if exposed is not None and not exposed.host:
            problems.add(f"{watched.path('flower', name)}.host", "name the host, for example flower.example.org.")
    if flower.http_route is not None and not flower.http_route.gateway:
        problems.add(f"{watched.path('flower', 'http_route')}.gateway", "name the Gateway that the route belongs to.")
    if flower.ingress is not None and not flower.ingress.tls:
        problems.warn(
            f"{watched.path('flower', 'ingress')}.tls",
            "without TLS anyone on the network path can read Flower's password.",
        )
    outside = (
        flower.ingress is not None or flower.http_route is not None or watched.monitoring.is_enabled("service_monitor")
    )
    if flower.network_policy is not None and outside and not flower.network_policy.allow_from:
        problems.add(
            f"{watched.path('flower', 'network_policy')}.allow_from",
            "the policy would keep out your ingress controller and Prometheus; name their namespaces: "
            "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}].",
        )


def _check_settings(flower: Flower, flowers: tuple[Server, ...], watched: _Watched) -> None:
    """Celery says nothing when it does not find its settings, and would go on without TLS (5.6)."""
    needs = next((one for one in flowers if flower.app is None and settings_file(one.broker, "settings")), None)
    if needs is None:
        return
    for key, entry in _environment(needs.pod):
        if entry["name"] in ("PYTHONPATH", "CELERY_CONFIG_MODULE"):
            watched.problems.add(
                watched.path("flower", key),
                f"{entry['name']} would hide the settings by which {needs.name} reaches its broker; leave it out, or "
                "write app, whose own settings count.",
            )


def _check_oauth(flower: Flower, oauth: FlowerOauth, watched: _Watched) -> None:
    path, problems = watched.path("flower", "oauth"), watched.problems
    needed = {
        "provider": "one of google, github, gitlab, okta",
        "client_id": "the id that the provider gave",
        "redirect_uri": "https://<host>/login",
        "allow": "who may enter, for example .*@example.org",
    }
    # What is written and refused reads as empty; that it is needed would be said beside it.
    refused = {item.path.rpartition(".oauth.")[2] for item in problems.found}
    for name, what in needed.items():
        if not getattr(oauth, name) and name not in refused:
            problems.add(f"{path}.{name}", f"it is needed; write {what}.")
    if not oauth.client_secret and flower.secret is None:
        problems.add(f"{path}.client_secret", "it is needed; write it, or name an existing Secret with secret.")
    if oauth.client_secret and flower.secret is not None:
        problems.add(f"{path}.client_secret", "it is set here, and secret names an existing Secret; write one of them.")
    if flower.password:
        problems.add(watched.path("flower", "password"), "people log in at the provider; leave password out, or oauth.")
    if oauth.provider == "okta" and not oauth.base_url:
        problems.add(f"{path}.base_url", "name Okta's server, for example https://example.okta.com/oauth2.")
    for name, owners in (("domain", ("github", "gitlab")), ("base_url", ("okta",)), ("gitlab_groups", ("gitlab",))):
        if getattr(oauth, name) and oauth.provider and oauth.provider not in owners:
            problems.add(f"{path}.{name}", f"it belongs to {' and '.join(owners)}; leave it out.")
    # Flower takes one '*', which stands before the '@', and not together with '|' (flower.utils.authentication, 2.2).
    allow = oauth.allow or ""
    if allow.count("*") > 1 or ("*" in allow and "|" in allow):
        problems.add(f"{path}.allow", "Flower takes one '*', or several addresses with '|' between them, not both.")


def _check_given(flower: Flower, watched: _Watched) -> None:
    """Files are written by whoever runs the playbook, so nothing that is generated would stay the same in them."""
    generated = []
    if flower.oauth is None and not flower.password and flower.secret is None:
        generated.append("password")
    if (
        flower.oauth is not None
        and not flower.cookie_secret
        and not (flower.secret and flower.secret.cookie_secret_key)
    ):
        generated.append("cookie_secret")
    instead = "name an existing Secret with secret" if flower.secret is None else "name its key in secret"
    for name in generated:
        watched.problems.add(
            watched.path("flower", name),
            f"manifest files cannot keep a {name} that is generated; write one, or {instead}.",
        )


def _check_exporter(exporter: Exporter, exporters: tuple[Server, ...], watched: _Watched) -> None:
    _check_arguments("exporter", exporter.extra_params, watched)
    _check_buckets("exporter", exporter.runtime_buckets, watched)
    with_password = next((one for one in exporters if sentinel_password(one.broker) is not None), None)
    if with_password is None:
        return
    words = [("extra_params", word) for word in exporter.extra_params]
    words += [(key, f"{item['name']}={item.get('value', '')}") for key, item in _environment(with_password.pod)]
    for key, word in words:
        if _TELLS_ALL.fullmatch(word):
            watched.problems.add(
                watched.path("exporter", key),
                f"with {word} the exporter writes the password of the sentinels to its log; write INFO.",
            )


def _check_arguments(part: str, words: tuple[str, ...], watched: _Watched) -> None:
    refused = _ARGUMENTS[part]
    for word in words:
        name = re.sub(r"^--?", "", word.partition("=")[0]).replace("_", "-")
        if not word.startswith("-"):
            watched.problems.add(watched.path(part, "extra_params"), f"{word!r} is no argument; write --name=value.")
        elif part == "exporter" and re.match(r"-Q(?!-)", word):
            watched.problems.add(watched.path(part, "extra_params"), f"-Q is refused: {refused['queues']}.")
        elif name in refused:
            watched.problems.add(watched.path(part, "extra_params"), f"--{name} is refused: {refused[name]}.")


def _check_buckets(part: str, buckets: tuple[float, ...], watched: _Watched) -> None:
    if list(buckets) != sorted(buckets):
        watched.problems.add(watched.path(part, "runtime_buckets"), "write the bounds in ascending order.")
