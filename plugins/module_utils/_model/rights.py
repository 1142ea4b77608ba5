# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an account must be allowed to do, by what it is used for. The playbook rbac, its page and its tests read this.

Verbs are those of the requests that kubernetes.core sends. It reads an object before it applies or deletes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from .observed import API_VERSIONS, CLUSTER_KINDS, FOREIGN_VERSIONS, IDLE_FIRST_KINDS, OPTIONAL_KINDS, plural

#: Where a right may be: in the namespace of the fleet, in that of KEDA, or in no namespace.
FLEET, KEDA, CLUSTER = "fleet", "keda", "cluster"
#: Name of the operator's Service, and ports that its metrics may be behind: KEDA's chart lets you choose the number.
OPERATOR, OPERATOR_PORTS = "keda-operator", ("8080", "metrics")
#: Kinds of which every run reads a list, whatever the inventory asks for.
BASE_KINDS = tuple(kind for kind in API_VERSIONS if kind not in OPTIONAL_KINDS)
_CLAIM, _DEPLOYMENT, _SCALED, _HPA = "PersistentVolumeClaim", "Deployment", "ScaledObject", "HorizontalPodAutoscaler"
_CONFIG_MAP, _SCALED_JOB = "ConfigMap", "ScaledJob"

#: Name of a feature to what it lets an account do.
FEATURES = {
    "deploy": "run `queueops.celery.deploy`",
    "wait": "wait until the workers are up (`celery_workers_wait`)",
    "ask": "ask workers what they hold before a deploy changes a key or a queue (`celery_workers_key_change`)",
    "prune": "delete what no variant owns (`celery_workers_prune: true`)",
    "move": "move messages before it is deleted (`celery_workers_prune: move`)",
    "remove": "run `queueops.celery.remove`",
    "verify": "run `queueops.celery.verify`, or a deploy with `celery_workers_verify: true`",
    "drain": "run `queueops.celery.drain`, or let workers finish what they run before a deploy or a removal",
    "status": "run `queueops.celery.status`",
    "pause": "run `queueops.celery.pause`",
    "resume": "run `queueops.celery.resume`",
    "boost": "run `queueops.celery.boost`",
    "queues": "run `queueops.celery.queues`",
    "gc": "run `queueops.celery.gc`",
    "quarantine": "run `queueops.celery.quarantine`",
    "idle_first": "let idle pods go first (`idle_first: true`), by a policy that is in no namespace",
}


@dataclass(frozen=True)
class Right:
    """Verbs on one resource.

    :param place: one of the namespaces above.
    :param names: the objects that it is limited to; empty for all.
    """

    group: str
    resource: str
    verbs: frozenset[str]
    place: str = FLEET
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scope:
    """What of a fleet decides on rights.

    :param made: kinds that its inventory asks for.
    :param found: kinds of its objects in the cluster, which it may have to take away.
    :param adopts: whether it changes Deployments that others made.
    :param replaces: whether it may take away autoscalers of others.
    :param uses_keda: whether KEDA decides on the workers of any of its variants.
    :param has_redis: whether its broker may be a Redis in its namespace.
    :param asks_pods: whether its status asks pods.
    :param removes_data: whether it may delete claims, with what is in their volumes.
    :param keeps_history: whether its runs leave a record.
    :param marks_pods: whether its workers mark their own pods, or did so.
    :param policy: name of the policy that keeps them to that.
    """

    made: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()
    adopts: bool = False
    replaces: bool = False
    uses_keda: bool = False
    has_redis: bool = False
    asks_pods: bool = True
    removes_data: bool = False
    keeps_history: bool = False
    marks_pods: bool = False
    policy: str = ""

    @property
    def _used(self) -> frozenset[str]:
        return self.made | self.found | ({_CONFIG_MAP} if self.keeps_history else set())

    @property
    def uses_jobs(self) -> bool:
        """Whether workers of it run as Jobs, or did."""
        return _SCALED_JOB in self._used

    def kinds(self, which: str) -> list[str]:
        """The kinds that a row is about, in the order in which they are applied.

        What lets idle pods go first has rows of its own, because it is not asked of who runs without it.
        """
        chosen = {
            "every": set(API_VERSIONS) - set(CLUSTER_KINDS),
            "read": {*BASE_KINDS, *self._used} - set(IDLE_FIRST_KINDS),
            "made": self.made - set(IDLE_FIRST_KINDS),
            "adopted": {_DEPLOYMENT} if self.adopts else set(),
            "removed": self._removed(),
            "scaled": {_DEPLOYMENT, *({_SCALED, _SCALED_JOB} & self.made)},
            "scalers": {_DEPLOYMENT, _SCALED},
            "stopped": {_DEPLOYMENT, _SCALED_JOB} & self._used,
            "history": {_CONFIG_MAP},
        }.get(which) or {which}
        return [kind for kind in API_VERSIONS if kind in chosen]

    def _removed(self) -> set[str]:
        kinds = set(self._used) | ({_SCALED, _HPA} if self.replaces else set())
        return (kinds if self.removes_data else kinds - {_CLAIM}) - set(IDLE_FIRST_KINDS)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param kinds: a set of kinds of the scope, or one kind.
    :param resources: API groups and resources that are no kinds of ours.
    :param why: what it is needed for.
    :param without: what a run does that lacks it; empty where it stops.
    :param place: one of the namespaces above.
    :param when: a field of the scope that must be true.
    :param named: a field of the scope with the only name that it is limited to.
    """

    feature: str
    verbs: tuple[str, ...]
    why: str
    kinds: str = ""
    resources: tuple[tuple[str, str], ...] = ()
    without: str = ""
    place: str = FLEET
    names: tuple[str, ...] = ()
    when: str = ""
    named: str = ""

    def rights(self, scope: Scope) -> Iterator[Right]:
        """What it means for a fleet."""
        if self.when and not getattr(scope, self.when):
            return
        kinds = scope.kinds(self.kinds) if self.kinds else []
        names = (str(getattr(scope, self.named)),) if self.named else self.names
        for group, resource in (*(resource_of(kind) for kind in kinds), *self.resources):
            yield Right(group, resource, frozenset(self.verbs), self.place, names)


def resource_of(kind: str) -> tuple[str, str]:
    """API group and resource of a kind."""
    version = {**API_VERSIONS, **FOREIGN_VERSIONS}[kind]
    return version.rpartition("/")[0], plural(kind)


_PODS = (("", "pods"),)
_EXEC = (("", "pods/exec"),)
_ON_THE_PAGE = "the page says so"


def _stopping(feature: str) -> Row:
    """What lets KEDA start no more Jobs of what goes, and notes of other workers that they take nothing new."""
    return Row(feature, ("get", "patch"), "stop what goes", "stopped")


_ASKED = "run a command in a pod: the stream needs `get`, and from Kubernetes 1.35 `create`"


def _asking(feature: str) -> tuple[Row, ...]:
    """What every question to a worker needs."""
    return (
        Row(feature, ("list",), "find the workers", "Deployment"),
        Row(feature, ("list",), "find those that run as Jobs", _SCALED_JOB, when="uses_jobs"),
        Row(feature, ("list",), "find a ready pod of each", resources=_PODS),
        Row(feature, ("get", "create"), _ASKED, resources=_EXEC),
    )


_UNRECORDED = "the history lacks the run, and a warning says so"


def _recording(feature: str, *more: str) -> Row:
    """What leaves a record in the history."""
    verbs = ("list", "get", *more, "patch")
    why = "leave a record of the run"
    return Row(feature, verbs, why, "history", without=_UNRECORDED, when="keeps_history")


_UNFOUND = "they are left as they are, where the inventory has no Jobs"


def _scaling(feature: str) -> tuple[Row, ...]:
    """What changes how a variant is scaled."""
    return (
        _recording(feature),
        Row(feature, ("list",), "find the variants and their number of pods", "scalers"),
        Row(feature, ("get", "patch"), "change the ScaledObject", "ScaledObject"),
        Row(feature, ("list",), "find Jobs that the inventory asked for before", _SCALED_JOB, without=_UNFOUND),
        Row(feature, ("list", "get", "patch"), "change the ScaledJob", _SCALED_JOB, when="uses_jobs"),
    )


def _draining(feature: str) -> tuple[Row, ...]:
    """What tells workers whether to take work."""
    return (
        *_scaling(feature),
        Row(feature, ("get", "patch"), "keep on the Deployment that its workers are drained", "Deployment"),
        *_asking(feature),
    )


_OFF = "it is left off, and a warning says so"


def _marking(
    verbs: tuple[str, ...],
    why: str,
    resources: tuple[tuple[str, str], ...],
    place: str = FLEET,
    named: str = "",
    feature: str = "idle_first",
) -> Row:
    """What lets workers mark their own pods."""
    return Row(feature, verbs, why, "", resources, _OFF, place, when="marks_pods", named=named)


_ACCOUNTS = tuple(resource_of(kind) for kind in IDLE_FIRST_KINDS if kind not in CLUSTER_KINDS)
_POLICIES = tuple(resource_of(kind) for kind in CLUSTER_KINDS)
_FOREIGN = tuple(resource_of(kind) for kind in FOREIGN_VERSIONS)

TABLE: tuple[Row, ...] = (
    Row("deploy", ("list",), "compare with what the inventory says", "read"),
    Row("deploy", ("get", "create", "patch"), "create and change it", "made"),
    Row("deploy", ("get", "patch"), "narrow adopted Deployments", "adopted"),
    Row("deploy", ("get", "delete"), "take away what was switched off", "removed"),
    _stopping("deploy"),
    Row(
        "deploy",
        ("list", "get", "delete"),
        "delete Jobs that never started, see others start",
        resources=(("batch", "jobs"),),
        without="they stay, and a warning says so",
        when="uses_jobs",
    ),
    Row("deploy", ("list",), "tell which those are", resources=_PODS, without="they stay", when="uses_jobs"),
    Row("deploy", ("list",), "find a VerticalPodAutoscaler", resources=_FOREIGN, without="no warning of it"),
    Row(
        "deploy", ("get",), "see what a Redis does when it is full", "ConfigMap", without="no warning", when="has_redis"
    ),
    _marking(("list",), "see that idle pods can go first", _ACCOUNTS, feature="deploy"),
    _marking(("get",), "see that the policy for it is in force", _POLICIES, CLUSTER, "policy", "deploy"),
    _recording("deploy", "create"),
    Row("wait", ("list",), "see whether they are up", "scaled"),
    Row("wait", ("list",), "say why a pod does not come up", resources=_PODS),
    Row(
        "wait",
        ("list",),
        "say why no Job starts",
        resources=(("", "events"), ("", "resourcequotas")),
        without="less is said",
        when="uses_jobs",
    ),
    *_asking("ask"),
    Row("prune", ("list",), "find what no variant owns", "read"),
    Row("prune", ("get", "delete"), "delete it", "removed"),
    _stopping("prune"),
    *_asking("prune"),
    *_asking("move"),
    # The inventory is not read, so that it does not say which kinds there are.
    Row(
        "remove", ("list",), "find what is the fleet's", "every", without="what is not found stays, and the run says so"
    ),
    Row("remove", ("get", "delete"), "delete it", "removed"),
    _stopping("remove"),
    Row("remove", ("get", "patch"), "give adopted Deployments back", "adopted"),
    *_asking("remove"),
    *_asking("verify"),
    *_draining("drain"),
    *_asking("queues"),
    *_asking("gc"),
    *_asking("quarantine"),
    Row("status", ("list",), "read how the fleet is", "read"),
    Row("status", ("list",), "count pods and restarts", resources=_PODS, without=_ON_THE_PAGE),
    Row("status", ("list",), "say why it scaled", resources=(("", "events"),), without=_ON_THE_PAGE),
    Row("status", ("get", "create"), _ASKED, resources=_EXEC, without=_ON_THE_PAGE, when="asks_pods"),
    Row(
        "status",
        ("get",),
        "read what queues hold from KEDA's operator",
        resources=(("", "services/proxy"),),
        without=_ON_THE_PAGE,
        place=KEDA,
        names=tuple(f"{OPERATOR}:{port}" for port in OPERATOR_PORTS),
        when="uses_keda",
    ),
    *_scaling("pause"),
    *_draining("resume"),
    *_scaling("boost"),
    _marking(("list", "get", "create", "patch", "delete"), "make the account of the pods and its right", _ACCOUNTS),
    _marking(("patch",), "grant it: only who holds a right may grant it", _PODS),
    _marking(("create",), "make the policy that narrows this right", _POLICIES, CLUSTER),
    _marking(("get", "patch", "delete"), "read, change and delete this one policy", _POLICIES, CLUSTER, "policy"),
)


def rights_of(scope: Scope, features: Collection[str] = tuple(FEATURES)) -> list[Right]:
    """The rights of an account that is used for some features, each resource once, in the order of names."""
    found: dict[tuple[str, str, str, tuple[str, ...]], set[str]] = {}
    for row in TABLE:
        for right in row.rights(scope) if row.feature in features else ():
            key = (right.place, right.group, right.resource, right.names)
            found.setdefault(key, set()).update(right.verbs)
    return [
        Right(group, resource, frozenset(verbs), place, names)
        for (place, group, resource, names), verbs in sorted(found.items())
    ]


def verbs_in_order(verbs: Iterable[str]) -> list[str]:
    """Verbs as roles usually list them."""
    order = ("get", "list", "create", "patch", "delete")
    return sorted(verbs, key=order.index)
