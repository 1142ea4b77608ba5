# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/keys.md: every variable of the role and every key below it, from the code that reads them.

Run with C(--write) to renew the page, without it to check that it is up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

import yaml
from ansible_collections.queueops.celery.plugins.module_utils._check.risks import RULES
from ansible_collections.queueops.celery.plugins.module_utils._model import (
    broker,
    budgets,
    job_keys,
    probes,
    prometheus,
    schedules,
    service_keys,
    variant_keys,
)
from ansible_collections.queueops.celery.plugins.module_utils._model import watching as monitoring
from ansible_collections.queueops.celery.plugins.module_utils._read.presets import OPENEDX, PROFILES
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import LAYERED
from ansible_collections.queueops.celery.plugins.module_utils._schema.keys import Key, Section, key_of
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX
from ansible_collections.queueops.celery.plugins.module_utils._schema.scalars import ListOf
from ansible_collections.queueops.celery.plugins.module_utils._schema.values import SecretValue

from tests.checks import layout

TARGET = layout.ROOT / "docs" / "keys.md"
SPECS = layout.ROOT / "roles" / "celery_workers" / "meta" / "argument_specs.yml"


@dataclass(frozen=True)
class Group:
    """One dataclass as a section of the page.

    :param intro: what stands between the heading and the table.
    :param switch: whether C(true) and C(false) may stand for the whole.
    """

    cls: type
    title: str
    intro: str
    switch: bool = True

    @property
    def anchor(self) -> str:
        """The link to the section, as GitHub makes it of a heading."""
        return re.sub(r"[^a-z0-9_ -]", "", self.title.lower()).replace(" ", "-")


GROUPS = (
    Group(
        service_keys.ServiceKeys,
        "Service",
        f"Below `{PREFIX}services.<service>`. Every key of a variant may stand here too, as the default of all "
        "variants of the service; only `name` and `queues` belong to one variant. A service's beat takes the keys of "
        "[the pod](#variant-the-pod) that stand on the service.",
    ),
    Group(variant_keys.Consumption, "Variant: what it consumes", f"Below `{PREFIX}config.<service>.<variant>`."),
    Group(
        variant_keys.Process,
        "Variant: the process",
        "The command line of the worker. Like every key of a variant, each may stand on the variant, on its service, "
        f"or in `{PREFIX}queue_defaults`.",
    ),
    Group(
        variant_keys.Pod,
        "Variant: the pod",
        "What is called *a Kubernetes …* is written as Kubernetes writes it (camelCase) and checked field by field.",
    ),
    Group(
        variant_keys.Scaling,
        "Variant: scaling",
        "`replicas` is for variants without a scaler, all other keys are for variants with one.",
    ),
    Group(
        job_keys.Jobs,
        "Variant: workers as Jobs",
        "Whether the workers run as pods of a Deployment or as [Jobs](jobs.md), and when a Job ends.",
    ),
    Group(
        variant_keys.Knowledge, "Variant: what people know", "Facts about the tasks, from which other defaults follow."
    ),
    Group(variant_keys.Watch, "Variant: what is watched", "Who looks after the variant, and when."),
    Group(
        monitoring.Alerts,
        "Alerts",
        "Below `alerts` of a variant, a service or `celery_workers_queue_defaults`: thresholds of its alerts, which "
        "`celery_workers_prometheus_rule_enabled` makes. `alerts: false` for none.",
    ),
    Group(
        service_keys.Beat,
        "Beat",
        "Below `beat` of a service. `beat: true` takes all defaults. Image, environment and volumes are the service's.",
    ),
    Group(
        probes.Probe,
        "Probe",
        "Below `probe` of a variant. `probe: heartbeat` is short for `probe: {type: heartbeat}`.",
    ),
    Group(variant_keys.DisruptionBudget, "PodDisruptionBudget", "Below `pdb` of a variant. `pdb: false` for none."),
    Group(budgets.Budget, "Budget", "Below `budget` of a variant. `budget: false` for none.", False),
    Group(schedules.ScheduleWindow, "Schedule", "Each element of `schedule` of a variant.", False),
    Group(variant_keys.Fallback, "Fallback", "Below `fallback` of a variant. `fallback: false` for none."),
    Group(
        broker.Broker,
        "Broker",
        f"`{PREFIX}broker` is the broker of all services; `broker` on a service is that service's own and replaces it.",
    ),
    Group(
        broker.Tls,
        "TLS",
        "Below `tls` of a broker. `tls: true` is encryption with a certificate of a public authority.",
    ),
    Group(broker.Management, "RabbitMQ management", "Below `management` of a broker.", False),
    Group(broker.ScalerLogin, "Scaler login", "Below `scaler` of a broker.", False),
    Group(service_keys.Database, "Database", "Below `database` of a service.", False),
    Group(
        broker.SecretReference, "Secret reference", "Below `secret` of a broker: a Secret that exists already.", False
    ),
    Group(
        monitoring.Flower,
        "Flower",
        f"`{PREFIX}flower`, for `{PREFIX}flower_enabled`. The keys of [its pod](#pods-of-flower-and-exporter) "
        "stand here too.",
    ),
    Group(monitoring.FlowerSecret, "Flower secret", "Below `secret` of Flower.", False),
    Group(monitoring.FlowerOauth, "Flower login", "Below `oauth` of Flower.", False),
    Group(monitoring.FlowerIngress, "Flower Ingress", "Below `ingress` of Flower.", False),
    Group(monitoring.FlowerRoute, "Flower HTTPRoute", "Below `http_route` of Flower.", False),
    Group(monitoring.FlowerNetworkPolicy, "Flower NetworkPolicy", "Below `network_policy` of Flower."),
    Group(monitoring.FlowerPersistence, "Flower persistence", "Below `persistence` of Flower."),
    Group(
        monitoring.Exporter,
        "Exporter",
        f"`{PREFIX}exporter`, for `{PREFIX}exporter_enabled`. The keys of [its pod](#pods-of-flower-and-exporter) "
        "stand here too.",
    ),
    Group(
        monitoring.ServerPod,
        "Pods of Flower and exporter",
        f"In `{PREFIX}flower` and in `{PREFIX}exporter`, beside their own keys.",
    ),
    Group(
        monitoring.ServiceMonitor,
        "Service monitor",
        f"`{PREFIX}service_monitor`, for `{PREFIX}service_monitor_enabled`.",
    ),
    Group(
        monitoring.PrometheusRule,
        "Prometheus rule",
        f"`{PREFIX}prometheus_rule`, for `{PREFIX}prometheus_rule_enabled`.",
    ),
    Group(monitoring.Dashboard, "Dashboard", f"`{PREFIX}dashboard`, for `{PREFIX}dashboard_enabled`."),
    Group(
        prometheus.Prometheus,
        "Prometheus",
        f"`{PREFIX}prometheus`, which scalers ask for [a wait goal](wait-goal.md). "
        f"`{PREFIX}prometheus: <url>` is short for `url` below it.",
        False,
    ),
    Group(
        prometheus.PrometheusSecret,
        "Prometheus login",
        "Below `secret` of Prometheus: a Secret that exists already.",
        False,
    ),
)

INTRO = f"""\
# Key reference

<!-- This page is generated by `make docs` from the code that reads the keys. Do not edit it. -->

All variables of the role `queueops.celery.celery_workers`, and all keys below them. This page is generated from the
code that reads them. A name that is not on this page is refused, and the message names the nearest one that is.

## Where keys go

```yaml
{PREFIX}broker:          # the broker of all services
  host: redis
{PREFIX}queue_defaults:  # keys of every variant of every service
  loglevel: warning
{PREFIX}services:
  billing:                      # keys of the service, and of all its variants
    image: registry.example/billing:1.4
{PREFIX}config:
  billing:
    default: {{}}                 # keys of one variant
    reports:
      concurrency: 1
```

## How layers merge

For each variant the later wins:

1. defaults of the collection (this page),
2. the [profile](#profiles), if the variant has one,
3. what follows from `task_seconds`, `longest_task_seconds` and `longest_eta_seconds`,
4. the [preset](#preset-openedx), if there is one,
5. `{PREFIX}queue_defaults`,
6. the service in `{PREFIX}services`,
7. the variant in `{PREFIX}config`.

Numbered layers split one variable into several: `{PREFIX}config`, then `{PREFIX}config__10_platform`, then
`{PREFIX}config__50_campus`, then `{PREFIX}config__90_host`. The two digits alone decide the order; whether a
layer stands in group_vars or host_vars does not matter. A layer belongs to its variable: no layer of `queue_defaults`
wins over `config`. These have layers: {", ".join(f"`{PREFIX}{name}`" for name in LAYERED)}.

Dicts merge key by key, and a word that is short for a dict (`probe: heartbeat`) merges like the dict. Everything else,
lists too, replaces what lies below. `null` sets a key back to the default of
steps 1 to 3. A service or variant that is `null` or `{{}}` has no keys of its own.

Numbers and booleans may be text, as templates make them.
"""


def code(text: str) -> str:
    """Text in code style, safe inside a table."""
    return f"`{text}`".replace("|", "\\|")


def prose(text: str) -> str:
    """Text of the code's documentation as Markdown, safe inside a table."""
    parts = re.split(r"\b([VOCEMP])\(([^()]*)\)", text)
    found = [escaped(parts[0])]
    for index in range(1, len(parts), 3):
        found += [code(parts[index + 1]), escaped(parts[index + 2])]
    return "".join(found)


def escaped(text: str) -> str:
    """Text in which nothing is markup."""
    for plain, safe in (("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("*", "\\*")):
        text = text.replace(plain, safe)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def short(value: Any) -> str:
    """A value as one would write it in one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {short(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(short(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str):
        # PyYAML knows what needs quotes; it ends a lone scalar with a line of dots.
        return yaml.safe_dump(value, default_style=None, width=10_000).removesuffix("...\n").strip()
    return json.dumps(value)


def default(found: Key, value: Any) -> str:
    """The default of a key, in words where the code has words."""
    if found.default_text:
        return prose(found.default_text)
    if value is None or value == "" or isinstance(found.check, SecretValue):
        return "-"
    if is_dataclass(value):
        return "its defaults"
    return code(short(value))


def what(found: Key) -> str:
    """What may be written. Keys of a section are a section of the page."""
    section = found.check.check if isinstance(found.check, ListOf) else found.check
    if not isinstance(section, Section):
        return prose(found.check.describe())
    group = next(item for item in GROUPS if item.cls is section.cls)
    switch = "true, false, or " if group.switch else ""
    words = f"a {section.word}, or " if section.word else switch
    words = "a list, each " if isinstance(found.check, ListOf) else words
    return f"{words}a dict of the keys of [{group.title}](#{group.anchor})"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def default_of(item: Field[Any]) -> Any:
    """The default of a key."""
    if item.default_factory is not MISSING:
        return item.default_factory()
    return None if item.default is MISSING else item.default


def group_rows(group: Group) -> Iterator[tuple[str, ...]]:
    """One row a key."""
    for item in fields(group.cls):
        found = key_of(item)
        if found is not None:
            yield code(item.name), what(found), default(found, default_of(item)), prose(found.doc)
    if group.cls is service_keys.ServiceKeys:
        [broker_group] = [item for item in GROUPS if item.cls is broker.Broker]
        link = f"a dict of the keys of [{broker_group.title}](#{broker_group.anchor})"
        yield "`broker`", link, "the broker of all services", "A broker of this service's own."


def role_rows() -> Iterator[tuple[str, ...]]:
    """One row a variable of the role."""
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["variables"]["options"]
    for name, option in options.items():
        text = option["description"]
        kind = f"one of {', '.join(code(short(item)) for item in option['choices'])}" if "choices" in option else ""
        value = "required" if option.get("required") else code(short(option.get("default")))
        yield code(name), kind or option["type"], value, prose(" ".join(text) if isinstance(text, list) else text)


def profile_rows() -> Iterator[tuple[str, ...]]:
    """One row a key, one column a profile."""
    for name in dict.fromkeys(name for values in PROFILES.values() for name in values):
        yield code(name), *(code(short(values[name])) if name in values else "-" for values in PROFILES.values())


def preset_block() -> str:
    """The preset as the variables it stands below."""
    layers = {
        f"{PREFIX}broker": OPENEDX.broker,
        f"{PREFIX}queue_defaults": OPENEDX.queue_defaults,
        f"{PREFIX}services": OPENEDX.services,
        f"{PREFIX}config": OPENEDX.config,
    }
    return str(yaml.safe_dump(json.loads(json.dumps(layers)), sort_keys=False, width=110))


def forgotten() -> list[str]:
    """Dataclasses of the model that have keys and no section here."""
    known = {group.cls for group in GROUPS}
    modules = (broker, budgets, schedules, service_keys, job_keys, variant_keys, monitoring)
    names = {name: value for module in modules for name, value in vars(module).items()}
    classes = [item for item in names.values() if isinstance(item, type) and is_dataclass(item)]
    return [cls.__name__ for cls in classes if cls not in known and any(key_of(item) for item in fields(cls))]


def render() -> str:
    """The whole page."""
    lines = [INTRO, "## Variables of the role", ""]
    lines += table(("variable", "what", "default", "meaning"), role_rows())
    for group in GROUPS:
        lines += [f"## {group.title}", "", group.intro, ""]
        lines += table(("key", "what", "default", "meaning"), group_rows(group))
        if group.cls is variant_keys.Knowledge:
            lines += ["## Accepted risks", "", "Rule ids that `accept_risks` takes.", ""]
            lines += table(("id", "what is accepted"), ((code(name), prose(text)) for name, text in RULES.items()))
    lines += ["## Profiles", "", "Values of `profile`. Each sets defaults; the rest keeps the collection's.", ""]
    lines += table(("key", *(code(name) for name in PROFILES)), profile_rows())
    lines += [
        "## Preset openedx",
        "",
        f"`{PREFIX}preset: openedx` stands below everything that the inventory writes:",
        "",
        f"```yaml\n{preset_block()}```",
        "",
        "It also adds this environment to workers and beat, unless `env` or `secret_env` names the same variable:",
        "",
    ]
    environment = {name: [f"{key}={text}" for key, text in env.items()] for name, env in OPENEDX.env.items()}
    lines += table(
        ("service", "environment"),
        ((code(name), ", ".join(code(text) for text in entries)) for name, entries in environment.items()),
    )
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write or compare; the exit code is 1 when the page is stale."""
    if missing := forgotten():
        print(f"tests/checks/key_reference.py has no group for {', '.join(missing)}; add one to GROUPS.")
        return 1
    text = render()
    if "--write" in sys.argv[1:]:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        print("docs/keys.md is not what the code says; run `make docs` and commit the result.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
