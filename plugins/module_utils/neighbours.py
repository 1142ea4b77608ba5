# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of one inventory beside each other: which would write the same objects, and which a run reaches.

One namespace of one cluster is one fleet. Everything here is computed from variables; no cluster is asked.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._check.preflight import wanted_objects
from ._read.module_options import inventory_from
from ._read.reader import LAYERED
from ._read.redaction import redacted_layers
from ._read.role_variables import role_values
from ._schema.layers import LAYER_NAME, PREFIX
from ._schema.problems import InventoryError, suggest
from .fleet import parse_fleet

#: Group of the hosts that the playbooks run on, unless C(celery_workers_hosts) names others.
DEFAULT_GROUP = "celery_fleets"

#: Kind and name of an object.
Name = tuple[str, str]
_SHOWN = 5


@dataclass(frozen=True)
class Place:
    """Where the fleet of one host lives.

    :param cluster: what tells clusters apart; equal for two hosts that reach the same one.
    :param files: whether manifest files are written instead of objects.
    """

    host: str
    namespace: str
    fleet: str
    cluster: tuple[str, ...] = ()
    files: bool = False


def place_of_host(host: str, variables: Mapping[str, Any], cluster: tuple[str, ...]) -> Place | None:
    """The place that a host's variables describe, by their names without the prefix; None if they name no namespace."""
    namespace = str(variables.get("namespace") or "")
    if not namespace:
        return None
    fleet = str(variables.get("fleet") or namespace)
    return Place(host, namespace, fleet, cluster, variables.get("output") == "manifests")


# Clusters

#: Reads a kubeconfig file; None if it cannot be read.
Read = Callable[[str], Any]


def cluster_of(kubeconfig: Any, context: str, environment: Mapping[str, str], read: Read) -> tuple[str, ...]:
    """What tells the cluster of a host from others: its address where the kubeconfig says it, else what was written.

    :param kubeconfig: a path, or the content; empty takes what kubernetes.core takes then.
    :param context: empty takes the current one.
    """
    path = "" if isinstance(kubeconfig, Mapping) else str(kubeconfig or "")
    default = environment.get("K8S_AUTH_KUBECONFIG") or environment.get("KUBECONFIG") or "~/.kube/config"
    context = context or environment.get("K8S_AUTH_CONTEXT", "")
    content = kubeconfig if isinstance(kubeconfig, Mapping) else read(path or default)
    address = _address(content, context, read)
    return address or ((path or default) if not isinstance(kubeconfig, Mapping) else str(sorted(kubeconfig)), context)


def _address(content: Any, context: str, read: Read) -> tuple[str, ...]:
    """Everything that leads to an API server; two tunnels to localhost differ by the certificate they expect."""
    if not isinstance(content, Mapping):
        return ()
    chosen = _named(content.get("contexts"), context or str(content.get("current-context") or "")).get("context")
    name = chosen.get("cluster") if isinstance(chosen, Mapping) else None
    cluster = _named(content.get("clusters"), str(name or "")).get("cluster")
    if not isinstance(cluster, Mapping) or not cluster.get("server"):
        return ()
    authority = _decoded(cluster.get("certificate-authority-data"))
    server = _plain_server(str(cluster["server"]))
    # It says which certificate is expected, and of tunnels to which server they lead.
    expected = str(cluster.get("tls-server-name") or "") if _TUNNEL.match(server) else ""
    return (server, str(cluster.get("proxy-url") or ""), expected, authority)


def _plain_server(url: str) -> str:
    """An address as everybody writes it: in small letters, without the port that its scheme has anyway."""
    scheme, separator, rest = url.strip().lower().partition("://")
    host, slash, path = rest.partition("/")
    port = {"https": ":443", "http": ":80"}.get(scheme, " ")
    host = host.removesuffix(port)
    name, colon, number = host.rpartition(":") if not host.endswith("]") else ("", "", host)
    host = f"{name.rstrip('.')}{colon}{number}" if colon else host.rstrip(".")
    return f"{scheme}{separator}{host}{slash}{path}".rstrip("/")


def _one_spelling(places: Iterable[Place]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Each cluster, with the one that stands for all that are the same.

    A kubeconfig may name its authority in a file, or trust any. It is then that of others at the same address, unless
    this is one of tunnels, which differ by nothing else.
    """
    known: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    clusters = {place.cluster for place in places}
    for cluster in clusters:
        if len(cluster) == _OF_ADDRESS and cluster[-1]:
            known[cluster[:-1]].add(cluster)
    return {
        cluster: next(iter(known[cluster[:-1]]))
        if len(cluster) == _OF_ADDRESS and len(known[cluster[:-1]]) == 1 and not _TUNNEL.match(cluster[0])
        else cluster
        for cluster in clusters
    }


#: Parts of a cluster whose address is known, and addresses of tunnels.
_OF_ADDRESS = 4
_TUNNEL = re.compile(r"https?://(?:localhost|127\.|\[::1\]|0\.0\.0\.0)")


def _named(items: Any, name: str) -> Mapping[str, Any]:
    found = [item for item in items or [] if isinstance(item, Mapping) and item.get("name") == name]
    return found[0] if found else {}


def _decoded(data: Any) -> str:
    try:
        return base64.b64decode(str(data or "")).decode(errors="replace").strip()
    except (binascii.Error, ValueError):
        return str(data)


# Collisions


def collisions(
    places: Iterable[Place], running: Collection[str], objects_of: Callable[[str], Collection[Name]]
) -> list[str]:
    """What hosts of one inventory would do to each other, where one of them takes part in the run.

    :param running: hosts of the run; the others are looked at as well, because their workers are there.
    :param objects_of: kind and name of all that a host's inventory asks for.
    """
    found = []
    for (namespace, cluster), together in _by_namespace(places).items():
        by_fleet: dict[str, list[Place]] = defaultdict(list)
        for place in together:
            by_fleet[place.fleet].append(place)
        for fleet, same in by_fleet.items():
            if len(same) > 1 and any(place.host in running for place in same):
                found.append(_one_fleet(fleet, namespace, cluster, same))
        firsts = [same[0] for same in by_fleet.values()]
        if len(firsts) > 1 and any(place.host in running for place in firsts):
            found += _shared_objects(firsts, running, objects_of)
    return found


def _by_namespace(places: Iterable[Place]) -> dict[tuple[str, tuple[str, ...]], list[Place]]:
    every = list(places)
    same = _one_spelling(every)
    found: dict[tuple[str, tuple[str, ...]], list[Place]] = defaultdict(list)
    for place in every:
        found[place.namespace, same[place.cluster]].append(place)
    return {key: together for key, together in found.items() if len(together) > 1}


def _one_fleet(fleet: str, namespace: str, cluster: tuple[str, ...], places: Sequence[Place]) -> str:
    where = f" ({cluster[0]})" if cluster and "://" in cluster[0] else ""
    named = f"namespace {namespace}" if fleet == namespace else f"namespace {namespace}, celery_workers_fleet {fleet}"
    return (
        f"The hosts {_listed([place.host for place in places])} describe one fleet: {named}, in the same "
        f"cluster{where}. Each would take the other's workers for leftovers, and removing one would remove both. Give "
        "each host a namespace of its own (celery_workers_namespace), or an id of its own if they are to share it "
        "(celery_workers_fleet). If they are in different clusters, name these (celery_workers_context or "
        "celery_workers_kubeconfig)."
    )


def _shared_objects(
    places: Sequence[Place], running: Collection[str], objects_of: Callable[[str], Collection[Name]]
) -> list[str]:
    owners: dict[Name, list[Place]] = defaultdict(list)
    for place in places:
        for name in dict.fromkeys(objects_of(place.host)):
            owners[name].append(place)
    by_hosts: dict[tuple[Place, ...], list[Name]] = defaultdict(list)
    for name, sharing in owners.items():
        if len(sharing) > 1 and any(place.host in running for place in sharing):
            by_hosts[tuple(sharing)].append(name)
    return [
        f"The hosts {_listed([f'{place.host} (fleet {place.fleet})' for place in sharing])} share the namespace "
        f"{sharing[0].namespace} of one cluster, and each of them makes "
        f"{_listed([f'{kind} {name}' for kind, name in sorted(names)])}. Rename them on one of the hosts (the "
        "services, or name of a variant, of Flower and of the exporter), or give each host a namespace of its own "
        "(celery_workers_namespace)."
        for sharing, names in by_hosts.items()
    ]


def _listed(words: Sequence[str]) -> str:
    shown = list(words[:_SHOWN]) if len(words) > _SHOWN + 1 else list(words)
    if len(shown) < len(words):
        shown.append(f"{len(words) - len(shown)} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def objects_asked_for(variables: Mapping[str, Any]) -> set[Name]:
    """Kind and name of all that a host's variables ask for; nothing where its own run would report problems.

    :param variables: those of the role, by their full name. Secret values are taken out first.
    """
    params, _problems = role_values({name.removeprefix(PREFIX): value for name, value in variables.items()})
    params |= {**dict.fromkeys(LAYERED), "explicit_queues": variables.get(f"{PREFIX}explicit_queues"), "versions": {}}
    names = [name for name in variables if name.removeprefix(PREFIX) in LAYERED or LAYER_NAME.match(name)]
    params["layers"] = redacted_layers([{"name": name, "value": variables[name]} for name in names])
    params |= {"variable_names": [], "known_variables": []}
    try:
        fleet = parse_fleet(inventory_from(params))
    except InventoryError:
        return set()
    return {*wanted_objects(fleet), *(("Deployment", item.deployment) for item in fleet.variants if item.adopted)}


# Which hosts a run reaches


def no_host(pattern: str, matched: Collection[str], groups: Mapping[str, Collection[str]], limit: str) -> str:
    """Why a run would do nothing at all, and what to write.

    :param matched: hosts of the inventory that the pattern fits, whatever the limit.
    """
    own = sorted(name for name in groups if name not in ("all", "ungrouped"))
    if matched:
        return (
            f"No host is left: --limit {limit} fits none of the hosts that {pattern} names "
            f"({_listed(sorted(matched))}). Correct --limit, or name other hosts with -e celery_workers_hosts=<group>."
        )
    if not groups.get("all"):
        return (
            f"The inventory has no host. Name an inventory with -i, and put its hosts into the group {DEFAULT_GROUP}."
        )
    hint = f"; {suggest(pattern, own)}" if own else "."
    return (
        f"No host of the inventory is in {pattern}, so nothing would run. Put the hosts into the group "
        f"{DEFAULT_GROUP}, or name their group with -e celery_workers_hosts=<group>{hint}"
    )


def unconfirmed_removal(places: Sequence[Place], confirmed: Any, limit: str) -> str:
    """Why a removal of several fleets stops, with all that would go; empty where it was asked for.

    :param confirmed: true, or the number of hosts.
    :param limit: what was written as --limit, which names the hosts already.
    """
    if len(places) < 2 or limit or str(confirmed).lower() in ("true", "yes", str(len(places))):
        return ""
    what = [
        f"{place.host}: the files of fleet {place.fleet}" if place.files else f"{place.host}: {_in_namespace(place)}"
        for place in places
    ]
    said = f"celery_workers_confirm_remove is {confirmed}. " if confirmed not in (None, "", False) else ""
    return "\n".join(
        [
            f"{said}This would remove the workers of all {len(places)} hosts:",
            *what,
            f"Remove one with --limit <host>, or all of them with -e celery_workers_confirm_remove={len(places)}.",
        ]
    )


def _in_namespace(place: Place) -> str:
    fleet = "" if place.fleet == place.namespace else f", fleet {place.fleet}"
    where = f" in {place.cluster[0]}" if place.cluster and "://" in place.cluster[0] else ""
    return f"namespace {place.namespace}{fleet}{where}"
