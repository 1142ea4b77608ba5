# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules between the parts of a finished pod, as an API server 1.36 checks them.

What one key says is checked where it is read. Here is what only the whole can tell: a mount without a volume, a claim
that the pod does not have, a security context that two keys together make impossible.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .._schema.kubernetes import Kubernetes
from .._schema.layers import nested
from .._schema.problems import Problems
from .._schema.quantities import quantity
from .risks import PathOf

#: Where in a pod something is: C(volumes), or C(containers), the container's name, and its field.
Place = tuple[str, ...]
Fault = tuple[Place, str]
Spec = Mapping[str, Any]

_POD_KEYS = {
    "affinity": "affinity",
    "automountServiceAccountToken": "automount_service_account_token",
    "imagePullSecrets": "image_pull_secrets",
    "initContainers": "init_containers",
    "nodeSelector": "node_selector",
    "priorityClassName": "priority_class_name",
    "securityContext": "security_context",
    "serviceAccountName": "service_account_name",
    "terminationGracePeriodSeconds": "termination_grace_period",
    "tolerations": "tolerations",
    "topologySpreadConstraints": "topology_spread_constraints",
    "volumes": "volumes",
}
_CONTAINER_KEYS = {
    "env": "env",
    "envFrom": "env_from",
    "image": "image",
    "imagePullPolicy": "image_pull_policy",
    "lifecycle": "lifecycle",
    "livenessProbe": "probe",
    "resources": "resources",
    "securityContext": "container_security_context",
    "startupProbe": "probe",
    "volumeMounts": "volume_mounts",
    "workingDir": "working_dir",
}
#: How C(Kubernetes) names a place in what it is given.
_READ_PATH = re.compile(r"pod\.(?P<field>\w+)(\[(?P<index>\d+)\](\.(?P<inner>\w+))?)?")


def check_finished_pod(
    spec: Spec, main: str, overrides: Spec, path_of: PathOf, problems: Problems, own_volumes: Collection[str] = ()
) -> None:
    """Note what a server would refuse in a finished pod, at the key that says so.

    :param main: name of the container that is ours.
    :param overrides: the pod_overrides that went into it.
    :param path_of: where a key of this pod was written.
    :param own_volumes: names of volumes of ours that the pod gets later.
    """
    found = list(_faults_of_parts(spec))
    # What follows from a part that is wrong in itself says nothing new.
    for place, message in found or _faults(spec, own_volumes):
        problems.add(path_of(_key_of(place, main, overrides)), message)


def _key_of(place: Place, main: str, overrides: Spec) -> str:
    field, *rest = place
    if field not in ("containers", "initContainers") or not rest:
        return "pod_overrides" if field in overrides else _POD_KEYS.get(field, "pod_overrides")
    changed = [item for item in overrides.get(field, []) if item.get("name") == rest[0]]
    if changed and (len(rest) == 1 or rest[1] in changed[0]):
        return "pod_overrides"
    if field == "initContainers":
        return "init_containers"
    if rest[0] != main:
        return "sidecars"
    return _CONTAINER_KEYS.get(rest[1] if len(rest) > 1 else "", "pod_overrides")


def _faults_of_parts(spec: Spec) -> Iterator[Fault]:
    """What is wrong in a part that was merged from several keys."""
    problems = Problems()
    Kubernetes("PodSpec")(nested(spec, "pod"), problems)
    for problem in problems.found:
        match = _READ_PATH.match(problem.path)
        field = match["field"] if match else "containers"
        if match and match["index"] and field in ("containers", "initContainers"):
            name = str(spec[field][int(match["index"])].get("name"))
            yield (field, name, *([match["inner"]] if match["inner"] else [])), f"{name}: {problem.message}"
        else:
            yield (field,), problem.message
    for field, container in _containers(spec):
        if not container.get("image"):
            yield (field, container["name"]), f"the container {container['name']!r} has no image."


def _containers(spec: Spec) -> Iterator[tuple[str, Spec]]:
    for field in ("initContainers", "containers"):
        for container in spec.get(field, []):
            yield field, container


def _faults(spec: Spec, own_volumes: Collection[str]) -> Iterator[Fault]:
    for rule in (_names, _host, _dns, _spreads, _identity, _levels, _files):
        yield from rule(spec)
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    volumes |= {name: {"emptyDir": {}} for name in own_volumes if name not in volumes}
    for field, container in _containers(spec):
        place = (field, str(container["name"]))
        yield from _at(place, _mounts(container, volumes))
        yield from _at(place, _variables(container, volumes))
        yield from _at(place, _claims(container, spec))
        yield from _at(place, _kind_of_container(container, field == "initContainers"))
        yield from _at(place, _security(container, spec))
        yield from _at(place, _stop(container, spec))


def _at(place: Place, faults: Iterator[Fault]) -> Iterator[Fault]:
    for inner, message in faults:
        yield (*place, *inner), message


def _names(spec: Spec) -> Iterator[Fault]:
    names = Counter((container["name"]) for _field, container in _containers(spec))
    for field, container in _containers(spec):
        if names[container["name"]] > 1 and field == "initContainers":
            yield (
                (field, container["name"]),
                f"the container name {container['name']!r} is taken; every container of a pod has its own.",
            )


def _host(spec: Spec) -> Iterator[Fault]:
    """What the node's own network and processes exclude."""
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        yield ("shareProcessNamespace",), "hostPID and shareProcessNamespace exclude each other; leave one out."
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get("hostUsers") is False and spec.get(name):
            yield (name,), f"hostUsers: false and {name}: true exclude each other; leave one out."
    if spec.get("hostnameOverride") and (spec.get("setHostnameAsFQDN") or spec.get("hostNetwork")):
        yield ("hostnameOverride",), "hostnameOverride takes neither setHostnameAsFQDN nor hostNetwork beside it."
    if spec.get("schedulingGates") and spec.get("nodeName"):
        yield ("nodeName",), "nodeName and schedulingGates exclude each other; leave one out."
    taken: list[tuple[Any, ...]] = []
    for field, container in _containers(spec):
        for port in container.get("ports", []):
            number = port["containerPort"]
            if spec.get("hostNetwork") and port.get("hostPort", number) != number:
                yield (
                    (field, container["name"], "ports"),
                    f"with hostNetwork the hostPort {port['hostPort']} must be the containerPort {number}.",
                )
            if "hostPort" in port:
                taken.append((port["hostPort"], port.get("protocol", "TCP"), port.get("hostIP", "")))
                if taken.count(taken[-1]) > 1:
                    yield (
                        (field, container["name"], "ports"),
                        f"the hostPort {port['hostPort']} is taken; a node has each once.",
                    )


def _dns(spec: Spec) -> Iterator[Fault]:
    if spec.get("dnsPolicy") == "None" and not spec.get("dnsConfig", {}).get("nameservers"):
        yield ("dnsPolicy",), "dnsPolicy None needs dnsConfig with nameservers."


def _spreads(spec: Spec) -> Iterator[Fault]:
    constraints = spec.get("topologySpreadConstraints", [])
    kinds = Counter((item["topologyKey"], item["whenUnsatisfiable"]) for item in constraints)
    for (key, when), number in kinds.items():
        if number > 1:
            yield (
                ("topologySpreadConstraints",),
                f"topologyKey {key} with whenUnsatisfiable {when} is written here more than once; write it once.",
            )


def _identity(spec: Spec) -> Iterator[Fault]:
    names = Counter(item.get("ip") for item in spec.get("hostAliases", []))
    for address, number in names.items():
        if number > 1:
            yield ("hostAliases",), f"the address {address} is in hostAliases more than once; write it once."


def _levels(spec: Spec) -> Iterator[Fault]:
    """Resources of the pod as a whole, beside those of its containers."""
    whole = spec.get("resources", {})
    if whole.get("claims"):
        yield ("resources",), "claims belong to a container, not to the resources of the pod."
    containers = [container.get("resources", {}) for container in spec["containers"]]
    for name, amount in whole.get("requests", {}).items():
        needed = sum(quantity(item.get("requests", {}).get(name)) or 0 for item in containers)
        if needed > (quantity(amount) or 0):
            yield ("resources",), f"the containers request more {name} than the {amount} of the pod; raise it."
    for name, amount in whole.get("limits", {}).items():
        if any((quantity(item.get("limits", {}).get(name)) or 0) > (quantity(amount) or 0) for item in containers):
            yield ("resources",), f"a container has a higher limit of {name} than the {amount} of the pod; raise it."
    for name in {*whole.get("requests", {}), *whole.get("limits", {})} & {"ephemeral-storage"}:
        yield ("resources",), f"the resources of a pod have no {name}; write it on a container."


def _files(spec: Spec) -> Iterator[Fault]:
    """The downward API, where it asks for a container's resources."""
    names = {container["name"] for _field, container in _containers(spec)}
    for volume in spec.get("volumes", []):
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        for source in sources:
            for item in source.get("downwardAPI", {}).get("items", []):
                wanted = item.get("resourceFieldRef", {}).get("containerName")
                if wanted is not None and wanted not in names:
                    yield ("volumes",), f"{volume['name']} asks for the container {wanted!r}, which the pod lacks."


def _mounts(container: Spec, volumes: Mapping[str, Spec]) -> Iterator[Fault]:
    devices = [item["name"] for item in container.get("volumeDevices", [])]
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield (
                ("volumeMounts",),
                f"{mount['mountPath']} mounts the volume {mount['name']!r}, which volumes does not have.",
            )
        if mount["name"] in devices:
            yield ("volumeMounts",), f"the volume {mount['name']!r} is mounted and a device; write one of them."
        privileged = container.get("securityContext", {}).get("privileged")
        if mount.get("mountPropagation") == "Bidirectional" and not privileged:
            yield ("volumeMounts",), "mountPropagation Bidirectional needs a privileged container."
    for name in devices:
        if name not in volumes:
            yield ("volumeDevices",), f"the device {name!r} names no volume."
        elif not {"persistentVolumeClaim", "ephemeral"} & set(volumes[name]):
            yield ("volumeDevices",), f"the device {name!r} must be a persistentVolumeClaim or ephemeral volume."


def _variables(container: Spec, volumes: Mapping[str, Spec]) -> Iterator[Fault]:
    for entry in container.get("env", []):
        name = entry.get("valueFrom", {}).get("fileKeyRef", {}).get("volumeName")
        if name is not None and "emptyDir" not in volumes.get(name, {}):
            yield (
                ("env",),
                f"{entry['name']} reads a file of {name!r}, which must be an emptyDir of the pod.",
            )


def _claims(container: Spec, spec: Spec) -> Iterator[Fault]:
    known = {claim["name"] for claim in spec.get("resourceClaims", [])}
    wanted = {claim["name"] for claim in container.get("resources", {}).get("claims", [])}
    for name in sorted(wanted - known):
        yield (
            ("resources",),
            f"the claim {name!r} is none of the pod's; name it in resourceClaims of pod_overrides, or leave it out.",
        )


def _kind_of_container(container: Spec, is_init: bool) -> Iterator[Fault]:
    is_sidecar = is_init and container.get("restartPolicy") == "Always"
    if not is_init and "restartPolicy" in container:
        yield ("restartPolicy",), "restartPolicy is for init containers, where Always makes a sidecar; leave it out."
    if is_init and not is_sidecar:
        for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if name in container:
                yield (
                    (name,),
                    f"an init container takes no {name}, because it ends before the pod is up; leave it out, or write "
                    "restartPolicy: Always.",
                )
    policies = container.get("resizePolicy", [])
    names = Counter(item["resourceName"] for item in policies)
    if any(number > 1 for number in names.values()):
        yield ("resizePolicy",), "resizePolicy names a resource more than once; write it once."
    elif is_init and not is_sidecar and any(item["restartPolicy"] == "RestartContainer" for item in policies):
        yield ("resizePolicy",), "an init container takes only restartPolicy: NotRequired in resizePolicy."


def _security(container: Spec, spec: Spec) -> Iterator[Fault]:
    own, pod = container.get("securityContext", {}), spec.get("securityContext", {})
    user = own.get("runAsUser", pod.get("runAsUser"))
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) and user == 0:
        yield (
            ("securityContext",),
            "runAsUser 0 is root, and runAsNonRoot keeps the container from starting; name another user, or write "
            "runAsNonRoot: false beside it, which Pod Security restricted does not let in.",
        )
    if own.get("procMount") == "Unmasked" and spec.get("hostUsers") is not False:
        yield ("securityContext",), "procMount Unmasked needs hostUsers: false in pod_overrides."


def _stop(container: Spec, spec: Spec) -> Iterator[Fault]:
    lifecycle = container.get("lifecycle", {})
    grace = spec.get("terminationGracePeriodSeconds", 30)
    for hook in ("postStart", "preStop"):
        seconds = lifecycle.get(hook, {}).get("sleep", {}).get("seconds")
        if seconds is not None and seconds > grace:
            yield (
                ("lifecycle",),
                f"{hook} sleeps {seconds} s, longer than the grace period of {grace} s; shorten it, or raise "
                "termination_grace_period.",
            )
    if "stopSignal" in lifecycle and "os" not in spec:
        yield ("lifecycle",), "stopSignal needs os: {name: linux} in pod_overrides."
