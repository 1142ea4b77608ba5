# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace in memory that takes what kubernetes.core.k8s is told, for runs of the role without a server.

It merges as kubernetes.core does, and fills in defaults as a server does, also inside of lists.
"""

from __future__ import annotations

import copy
import functools
import json
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from ansible_collections.kubernetes.core.plugins.module_utils.apply import annotate, merge
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import utc_now
from ansible_collections.queueops.celery.plugins.plugin_utils._day_two import DayTwoRun
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import APPLY, FleetRun
from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import HostVariables, read_variables
from ansible_collections.queueops.celery.plugins.plugin_utils._rights_run import RightsRun

Object = dict[str, Any]
Key = tuple[str, str]
AnyRun = TypeVar("AnyRun", bound=FleetRun)

NAMESPACE = "shop"
_DEFAULTS = Path(__file__).parents[2] / "roles" / "celery_workers" / "defaults" / "main.yml"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
#: Kinds of which a list without their content may be asked for.
_CONTENTS = ("ConfigMap", "Secret", "PersistentVolumeClaim")


def _patched(live: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    found = dict(live) if isinstance(live, Mapping) else {}
    for name, item in patch.items():
        if item is None:
            found.pop(name, None)
        else:
            found[name] = _patched(found.get(name), item)
    return found


def _strategic(live: Any, patch: Any) -> Any:
    """The same with containers merged by their name, as a strategic merge does."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    found = dict(live) if isinstance(live, Mapping) else {}
    for name, item in patch.items():
        if item is None:
            found.pop(name, None)
        elif name == "containers":
            given = {one["name"]: one for one in item}
            found[name] = [_strategic(one, given.get(one["name"], {})) for one in found.get(name, [])]
        else:
            found[name] = _strategic(found.get(name), item)
    return found


def _selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels are as a selector asks: C(name=value) several times, or once C(name in (one,other))."""
    name, is_set, values = selector.partition(" in ")
    if is_set:
        return labels.get(name) in values.strip("()").split(",")
    wanted = dict(part.split("=") for part in selector.split(",") if part)
    return wanted.items() <= labels.items()


def _has_fields(item: Mapping[str, Any], fields: str | None) -> bool:
    """Whether fields of an object are as a selector asks: C(involvedObject.kind=Job)."""
    for part in filter(None, (fields or "").split(",")):
        path, _equals, wanted = part.partition("=")
        value: Any = item
        for name in path.split("."):
            value = value.get(name) or {}
        if value != wanted:
            return False
    return True


@dataclass
class ModelCluster:
    """One namespace.

    :param sent: what kubernetes.core.k8s was told, and whether it was to be hidden.
    :param watch: called after each object that was written.
    """

    objects: dict[Key, Object] = field(default_factory=dict)
    sent: list[tuple[Object, bool]] = field(default_factory=list)
    lists: list[tuple[str, bool]] = field(default_factory=list)
    live: dict[Key, Object] = field(default_factory=dict)
    namespace: str = NAMESPACE
    version: int = 0
    watch: Callable[[], None] = lambda: None
    client: Any = None
    hidden: frozenset[str] = frozenset()

    # What a run reads

    def namespace_exists(self) -> bool:
        return True

    def list_objects(
        self,
        kind: str,
        api_version: str,
        metadata_only: bool = False,
        selector: str | None = None,
        fields: str | None = None,
    ) -> list[Object]:
        self.lists.append((kind, metadata_only))
        found = [
            copy.deepcopy(item)
            for (one, _name), item in self.objects.items()
            if one == kind
            and _selects(selector or "", item["metadata"].get("labels") or {})
            and _has_fields(item, fields)
        ]
        if metadata_only and kind in _CONTENTS:
            return [{"metadata": item["metadata"]} for item in found]
        self.live.update({(kind, item["metadata"]["name"]): item for item in found})
        return found

    def read_contents(self, kind: str, selector: str) -> dict[str, Object]:
        return {item["metadata"]["name"]: item for item in self.list_objects(kind, "", selector=selector)}

    def config_map_texts(self, name: str) -> list[str]:
        return []

    def pods_selected_by(self, deployment: Object) -> list[Object]:
        labels = ((deployment["spec"].get("selector") or {}).get("matchLabels") or {}).items()
        pods = (item for (kind, _name), item in self.objects.items() if kind == "Pod")
        return [item for item in pods if labels and labels <= (item["metadata"].get("labels") or {}).items()]

    # What a run sends

    def open(self, namespace: str, hidden: frozenset[str] = frozenset()) -> ModelCluster:
        self.live, self.hidden = {}, hidden
        return self

    def send(self, arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
        """What kubernetes.core.k8s does, object by object."""
        self.sent.append((copy.deepcopy(arguments), hides))
        results = []
        for definition in arguments["definition"]:
            is_taken = f"{definition['kind']} {definition['metadata']['name']}" in new and arguments.get("only_new")
            key = (definition["kind"], definition["metadata"]["name"])
            if is_taken and key in self.objects:
                results.append({"changed": False, "result": {}, "error": {"msg": "Conflict: another one created it"}})
                continue
            results.append(self._sent(definition, arguments))
            self.watch()
        return {"result": {"results": results}}

    def _sent(self, definition: Object, arguments: Object) -> Object:
        key = (definition["kind"], definition["metadata"]["name"])
        before = self.objects.get(key)
        version = definition["metadata"].get("resourceVersion")
        if before is not None and version and version != before["metadata"]["resourceVersion"]:
            status = {"kind": "Status", "code": 409, "reason": "Conflict", "message": "the object has been modified"}
            return {"changed": False, "result": {}, "error": {"msg": f"Failed to patch object: {json.dumps(status)}"}}
        if arguments.get("state") == "absent":
            self.objects.pop(key, None)
            return {"changed": before is not None, "method": "delete", "result": {}}
        if arguments.get("state") == "patched":
            assert before is not None
            by = _strategic if arguments["merge_type"] == ["strategic-merge"] else _patched
            after = by(before, definition)
        elif before is None:
            noted = annotate(definition) if arguments.get("apply") else {}
            after = _patched(_patched({}, definition), noted)
        elif arguments.get("apply"):
            last = json.loads(before["metadata"].get("annotations", {}).get(_LAST_APPLIED, "{}"))
            patch = merge(last, definition, before) if last else definition
            after = _patched(_patched(before, patch), annotate(definition))
        else:
            after = _patched(before, definition)
        return self._stored(key, before, after)

    def _stored(self, key: Key, before: Object | None, after: Object) -> Object:
        after = self._with_defaults(after)
        changed = before is None or {**after, "status": 0} != {**before, "status": 0}
        if changed:
            self.version += 1
            after["metadata"]["resourceVersion"] = str(self.version)
            self.objects[key] = after
        method = "create" if before is None else "patch"
        diff = {"before": before or {}, "after": after} if changed else {}
        return {"changed": changed, "method": method, "result": copy.deepcopy(self.objects[key]), "diff": diff}

    def _with_defaults(self, item: Object) -> Object:
        made = copy.deepcopy(item)
        if made["kind"] == "Deployment":
            spec = made["spec"]
            spec.setdefault("replicas", 1)
            spec.setdefault("revisionHistoryLimit", 10)
            for container in spec["template"]["spec"]["containers"]:
                container.setdefault("terminationMessagePath", "/dev/termination-log")
                for port in container.get("ports", []):
                    port.setdefault("protocol", "TCP")
            count = spec["replicas"]
            up = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), count)
            made["status"] = {"observedGeneration": 1, **up}
            made["metadata"]["generation"] = 1
        if made["kind"] == "ScaledObject":
            made["metadata"].setdefault("finalizers", ["finalizer.keda.sh"])
            made["metadata"]["labels"] = {**made["metadata"].get("labels", {}), "scaledobject.keda.sh/name": "x"}
            made["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
        if made["kind"] == "ScaledJob":
            # KEDA has read its triggers once, and found nothing.
            conditions = [{"type": name, "status": value} for name, value in (("Ready", "True"), ("Active", "False"))]
            made.setdefault("status", {"conditions": conditions})
            # Another one for each spec, and the same for the same: only whether it differs matters.
            made["metadata"]["generation"] = zlib.crc32(json.dumps(made["spec"], sort_keys=True).encode())
        return made

    def put(self, item: Object) -> None:
        """An object of others, or a state that something else has brought about."""
        key = (item["kind"], item["metadata"]["name"])
        self._stored(key, None, item)

    def scale(self, name: str, replicas: int) -> None:
        """What a scaler does."""
        item = copy.deepcopy(self.objects["Deployment", name])
        item["spec"]["replicas"] = replicas
        self._stored(("Deployment", name), self.objects["Deployment", name], item)


class _Templar:
    """Values that are no templates."""

    available_variables: Mapping[str, Any] = {}

    def template(self, value: Any) -> Any:
        return value


@functools.cache
def _written_defaults() -> Object:
    found: Object = yaml.safe_load(_DEFAULTS.read_text(encoding="utf-8"))
    return found


def role_defaults() -> Object:
    """The role's defaults, without templates. Only tests of the history keep one, so that others count their own."""
    found = copy.deepcopy(_written_defaults())
    plain = {
        "celery_workers_fleet": NAMESPACE,
        "celery_workers_tutor_plugins_root": "/tmp/plugins",
        "celery_workers_history": 0,
    }
    return {**found, **plain, "celery_workers_namespace": NAMESPACE}


def run(
    cluster: ModelCluster,
    checks: bool = False,
    reaches: str = APPLY,
    hosts: Collection[str] = (),
    clock: Callable[[], datetime] = utc_now,
    given: Collection[str] = (),
    **variables: Any,
) -> Object:
    """One run of the role over one host; variables are those of the role, without their prefix.

    :param hosts: every host of the inventory.
    :param given: variables that stand on the command line.
    """
    return _made(FleetRun, cluster, variables, reaches, checks, clock, given, hosts).apply()


def operate(
    cluster: ModelCluster,
    operation: str,
    clock: Callable[[], datetime] = utc_now,
    checks: bool = False,
    by: str = "anna",
    given: Collection[str] = (),
    **variables: Any,
) -> Object:
    """One run of a playbook that changes how variants are scaled: C(pause), C(resume)."""
    made = _made(DayTwoRun, cluster, variables, APPLY, checks, clock, given)
    made.by = by
    done: Object = getattr(made, operation)()
    return done


def account(
    cluster: ModelCluster, checks: bool = False, shared: HostFolder | None = None, host: str = "one", **variables: Any
) -> Object:
    """One run of the playbook rbac.

    :param shared: what the hosts of the play tell each other.
    """
    made = _made(RightsRun, cluster, variables, APPLY, checks, utc_now)
    made.host, made.shared = host, shared
    return made.bring()


def host_run(kind: type[AnyRun], core: Any, variables: Mapping[str, Any], checks: bool = False) -> AnyRun:
    """A run over the host of the variables.

    :param core: the way to a cluster.
    """
    return _made(kind, core, variables, APPLY, checks, utc_now)


def host_variables(variables: Mapping[str, Any], on_command_line: Collection[str] = ()) -> HostVariables:
    """Variables of the role, without their prefix, as a run reads them."""
    given = {f"celery_workers_{name}": value for name, value in variables.items()}
    return replace(read_variables(_Templar(), {**role_defaults(), **given}, ()), given=frozenset(on_command_line))


def _made(
    kind: type[AnyRun],
    cluster: ModelCluster,
    variables: Mapping[str, Any],
    reaches: str,
    checks: bool,
    clock: Callable[[], datetime],
    given: Collection[str] = (),
    hosts: Collection[str] = (),
) -> AnyRun:
    return kind(
        "one",
        host_variables(variables, given),
        lambda _connection: cluster,  # type: ignore[arg-type, return-value]
        reaches,
        checks,
        shows_diff=True,
        hosts=hosts,
        clock=clock,
    )


def made_run(kind: type[AnyRun], cluster: ModelCluster, variables: Mapping[str, Any], checks: bool = False) -> AnyRun:
    """A run of another kind over one host."""
    return _made(kind, cluster, variables, APPLY, checks, utc_now)


def done(result: Object) -> Object:
    """The result of a run that must not have failed."""
    assert not result.get("failed"), result["msg"]
    return result


def refused(result: Object) -> str:
    """Why a run was refused, which it must have been."""
    assert result.get("failed")
    return str(result["msg"])
