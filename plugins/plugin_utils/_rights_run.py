# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the playbook rbac: the account of a fleet with just the rights that its inventory needs, and its login."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from ansible_collections.queueops.celery.plugins.module_utils._build.rights import (
    ACCOUNT,
    ACCOUNT_VERSIONS,
    EVERYWHERE,
    Account,
    account_resources,
)
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import named_objects, source_names
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.login import (
    Server,
    is_ours,
    kubeconfig,
    request_token,
    token_in,
    uid_of,
    user_name,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.manifest_tree import host_name
from ansible_collections.queueops.celery.plugins.module_utils._cluster.operator_metrics import (
    DEFAULT_NAMESPACE,
    registered_namespace,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError, read_observed
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    NOTHING,
    Observed,
    observed_object,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import (
    CLUSTER,
    FEATURES,
    KEDA,
    Right,
    rights_of,
    verbs_in_order,
)
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import Object, Plan
from ansible_collections.queueops.celery.plugins.module_utils._plan.granting import (
    Key,
    Standing,
    own_objects,
    plan_account,
    plan_withdrawal,
    scope_of,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.counted import counted
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import as_yaml
from ansible_collections.queueops.celery.plugins.module_utils._schema.moments import read_duration, shown
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError, Problem
from ansible_collections.queueops.celery.plugins.module_utils.fleet import follows_cluster, parse_fleet
from ansible_collections.queueops.celery.plugins.plugin_utils._files import (
    TreeError,
    near_path,
    real_path,
    remove_file,
    write_private,
    write_text,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import FleetRun, Result
from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import KubernetesCore, merged

_FILE = "celery_workers_rbac_kubeconfig"
_ADVICE = (
    "Run queueops.celery.rbac as an administrator of the cluster: Kubernetes lets only those grant a right who hold "
    "it themselves."
)
#: Servers refuse more than 2**32 seconds.
_LONGEST = timedelta(days=3660)


@dataclass
class _Login:
    """The kubeconfig of the account.

    :param path: empty where none is asked for.
    :param before: its text so far; None where there is none.
    """

    path: str
    lifetime: timedelta
    before: str | None = None

    @property
    def near(self) -> str:
        """Its path as a person would type it."""
        return near_path(self.path)

    @property
    def is_private(self) -> bool:
        """Whether nobody else may read it."""
        return (Path(self.path).stat().st_mode & 0o777) == 0o600


@dataclass
class _Sight:
    """What is known of the cluster before anything is sent."""

    cluster: DirectCluster
    account: Account
    standing: Standing
    rights: list[Right] = field(default_factory=list)

    def uid(self) -> str:
        """That of the ServiceAccount; empty where there is none."""
        return uid_of(self.standing.live.get((ACCOUNT, self.account.namespace, self.account.name)))


class RightsRun(FleetRun):
    """One such run over one host.

    :param shared: what the hosts of the play tell each other.
    """

    shared: HostFolder | None = None
    #: It grants what others lack.
    lacking_advice = _ADVICE

    def bring(self) -> Result:
        """Make the account, or take it away."""
        return self._guarded(self._bring_account, "rbac")

    def _bring_account(self) -> None:
        self._refuse_selection()
        removes = self.variables.text("rbac_state") == "absent"
        inventory = None if removes else self.variables.inventory()
        fleet = self._bare_fleet() if inventory is None else parse_fleet(inventory)
        login = self._login(fleet)
        if self.variables.text("output") == "manifests":
            self._account_files(fleet, removes)
            return
        core = self.connect(self.variables.connection)
        cluster = core.open(fleet.namespace, self.variables.hidden)
        observed = NOTHING
        if inventory is not None:
            observed = read_observed(cluster, fleet.name, named_objects(fleet), source_names(fleet))
            if follows_cluster(fleet):
                fleet = parse_fleet(replace(inventory, observed=observed))
        sight = self._look(cluster, fleet, observed, removes)
        if removes:
            self._withdraw(core, fleet, sight, login)
        else:
            self._grant(core, fleet, sight, login)

    def _features(self) -> list[str]:
        return self.variables.value("rbac_features") or list(FEATURES)

    # Looking

    def _login(self, fleet: Fleet) -> _Login:
        """The kubeconfig that is asked for.

        :raises InventoryError: if it must not be written.
        """
        variables = self.variables
        written = variables.text("rbac_kubeconfig")
        lifetime = read_duration(variables.text("rbac_kubeconfig_lifetime")) or timedelta()
        login = _Login(real_path(written) if written else "", min(lifetime, _LONGEST))
        if not written:
            return login
        login.before = _text_of(login.path)
        problems = [*self._taken(login), *_foreign_file(login, variables.text("rbac_account"), fleet.namespace)]
        if problems:
            raise InventoryError([Problem(_FILE, text) for text in problems])
        return login

    def _taken(self, login: _Login) -> Iterable[str]:
        """Whether another host of the play writes the same file."""
        if self.shared is None:
            return
        self.shared.write(self.host, {"path": login.path})
        others = [host for host, left in self.shared.read().items() if left["path"] == login.path and host != self.host]
        if others:
            yield (
                f"{login.near} is also the file of {', '.join(others)}, and each host needs its own. Write a path with "
                "the host in it, for example kubeconfigs/{{ inventory_hostname }}.yml."
            )

    def _look(self, cluster: DirectCluster, fleet: Fleet, observed: Observed, removes: bool) -> _Sight:
        variables = self.variables
        exists = cluster.namespace_exists() if removes else observed.namespace_exists
        rights = [] if removes else self._rights(fleet, observed)
        keda, found = self._keda(cluster)
        account = Account(variables.text("rbac_account"), fleet.name, fleet.namespace, keda.namespace)
        # Also without a right there: an earlier run may have granted one.
        has_keda = keda.namespace_exists()
        if not has_keda and any(right.place == KEDA for right in rights):
            self._say_no_keda(keda.namespace)
            rights = [right for right in rights if right.place != KEDA]
        elif found not in ("", DEFAULT_NAMESPACE) and any(right.place == KEDA for right in rights):
            self.warnings.append(
                f"KEDA is in namespace {found}, and the account may not find that out. Write "
                f"celery_workers_keda_namespace: {found} into the inventory."
            )
        live = {**(_live(cluster) if exists else {}), **(_live(keda, without=ACCOUNT) if has_keda else {})}
        live |= self._live_everywhere(cluster, account, any(right.place == CLUSTER for right in rights))
        return _Sight(cluster, account, Standing(live, exists, variables.flag("create_namespace")), rights)

    def _keda(self, cluster: DirectCluster) -> tuple[DirectCluster, str]:
        """The namespace of KEDA, and which one that is where only the cluster has told it."""
        written = self.variables.text("keda_namespace")
        found = "" if written else registered_namespace(cluster)
        return DirectCluster(cluster.client, written or found or DEFAULT_NAMESPACE, hidden=cluster.hidden), found

    def _rights(self, fleet: Fleet, observed: Observed) -> list[Right]:
        variables = self.variables
        flags = (variables.flag("status_ask_pods"), variables.flag("remove_data"), variables.number("history") > 0)
        return rights_of(scope_of(fleet, observed, *flags), self._features())

    def _say_no_keda(self, namespace: str) -> None:
        self.warnings.append(
            f"The namespace {namespace} of KEDA does not exist, so the account gets no right to read KEDA's metrics. "
            "Write celery_workers_keda_namespace, or run this again once KEDA is installed."
        )

    @staticmethod
    def _live_everywhere(cluster: DirectCluster, account: Account, is_needed: bool) -> dict[Key, Object]:
        """Objects of the kinds of an account that are in no namespace, and that have its name.

        :raises ClusterError: if they may not be read, and something of them is needed.
        """
        name = account.role_name(CLUSTER)
        found: dict[Key, Object] = {}
        for kind in EVERYWHERE:
            try:
                every = cluster.named_object(kind, ACCOUNT_VERSIONS[kind], name)
            except ClusterError:
                if is_needed:
                    raise
                continue
            for item in every:
                found[kind, "", name] = item
        return found

    # Making

    def _grant(self, core: KubernetesCore, fleet: Fleet, sight: _Sight, login: _Login) -> None:
        found = plan_account(sight.account, sight.rights, sight.standing, merged, self.checks)
        if found.problems:
            self.result.update(failed=True, msg="\n".join(found.problems), problems=list(found.problems))
            return
        self._send(core, fleet, sight, found)
        self._tell(sight.account, sight.rights)
        if login.path:
            self._write_login(sight, login)
        else:
            self._say_and_show([f"No kubeconfig is written: {_FILE} names the file for one."])

    def _send(self, core: KubernetesCore, fleet: Fleet, sight: _Sight, found: Plan) -> None:
        live = sight.standing.live
        observed = Observed(tuple(observed_object(kind, item) for (kind, _where, _name), item in live.items()))
        self._execute(core, sight.cluster, fleet, observed, found, [])

    def _tell(self, account: Account, rights: list[Right]) -> None:
        """What the account may do."""
        said = [f"{ACCOUNT} {account.name} in namespace {account.namespace} may {', '.join(self._features())}"]
        for place in sorted({right.place for right in rights}):
            own = counted(len({(one.group, one.resource) for one in rights if one.place == place}), "resource")
            namespace = account.namespace_of(place)
            role = f"Role {account.role_name(place)} in namespace {namespace}"
            said.append(f"{role if namespace else f'ClusterRole {account.role_name(place)}'}: {own}")
        self.result["rights"] = [
            f"{', '.join(verbs_in_order(right.verbs))} on {right.resource}{f'.{right.group}' if right.group else ''} "
            f"{_place(account, right)}"
            for right in rights
        ]
        self._say_and_show([*(["check mode: nothing was sent. Without --check:"] if self.checks else []), *said])

    def _write_login(self, sight: _Sight, login: _Login) -> None:
        account, near = sight.account, login.near
        server = Server.of(sight.cluster.client.configuration)
        token = token_in(login.before or "")
        is_good = token is not None and token.is_good(user_name(account.name, account.namespace), sight.uid(), self.now)
        if token is not None and is_good:
            text = kubeconfig(server, account.name, account.namespace, token.text, login.lifetime)
            if text == login.before and login.is_private:
                self._say_and_show([f"{near} logs in until {shown(token.ends)}"])
                return
        if self.checks:
            self._note_login(login, f"{near} would get a new token")
            return
        token = request_token(sight.cluster, account.name, login.lifetime)
        text = kubeconfig(server, account.name, account.namespace, token.text, login.lifetime)
        write_private(login.path, text, checks=False)
        self._note_login(login, f"{near} logs in until {shown(token.ends)}; a run in the second half of that renews it")
        self._say_shorter(token.ends, login)

    def _note_login(self, login: _Login, text: str) -> None:
        self.result["changed"] = True
        self.result.setdefault("updated" if login.before is not None else "created", []).append(f"file {login.near}")
        self._say_and_show([text])

    def _say_shorter(self, ends: datetime, login: _Login) -> None:
        """Some servers grant less than they are asked for."""
        if ends - self.now < login.lifetime * 0.9:
            hours = round((ends - self.now).total_seconds() / 3600, 1)
            self.warnings.append(
                f"The API server grants a token for {hours:g} hours, and celery_workers_rbac_kubeconfig_lifetime asks "
                "for more. Run this playbook again before the token ends."
            )

    def _say_and_show(self, lines: list[str]) -> None:
        self._say(lines)
        self.screen.show(lines)

    # Taking away

    def _withdraw(self, core: KubernetesCore, fleet: Fleet, sight: _Sight, login: _Login) -> None:
        own = own_objects(sight.account, sight.standing)
        self._send(core, fleet, sight, plan_withdrawal(sight.account, sight.standing))
        said = [f"{counted(len(own), 'object')} of the account {'would be' if self.checks else 'are'} taken away"]
        if not own:
            said = [f"There is no account {sight.account.name} of this fleet"]
        if login.before is not None:
            remove_file(login.path, self.checks)
            self.result["changed"] = True
            self.result.setdefault("deleted", []).append(f"file {login.near}")
            said.append(f"{login.near} {'would be' if self.checks else 'is'} removed")
        self._say_and_show(said)

    # Files

    def _account_files(self, fleet: Fleet, removes: bool) -> None:
        """One file beside the folder of the host, for an administrator: what is in the folder is not his to apply."""
        variables = self.variables
        path = f"{real_path(variables.text('manifests_dir'))}/{host_name(self.host)}-rbac.yml"
        near = near_path(path)
        if removes:
            self.result["changed"] = remove_file(path, self.checks)
            self._say_and_show([f"{near} {'would be' if self.checks else 'is'} removed"])
            return
        keda = variables.text("keda_namespace") or DEFAULT_NAMESPACE
        account = Account(variables.text("rbac_account"), fleet.name, fleet.namespace, keda)
        rights = self._rights(fleet, NOTHING)
        text = "---\n".join(as_yaml(item) for item in account_resources(account, rights))
        changed, diff = write_text(path, text, self.checks)
        self.result.update(changed=changed, path=path, diff=[diff] if changed else [])
        self._tell(account, rights)
        self._say_and_show([f"Apply it as an administrator: kubectl apply --filename {near}"])
        if variables.text("rbac_kubeconfig"):
            self.warnings.append(
                f"{_FILE}: no kubeconfig is written, because only a cluster makes tokens. Once the account is there: "
                f"kubectl create token {account.name} --namespace {account.namespace} --duration 720h."
            )


def _place(account: Account, right: Right) -> str:
    namespace = account.namespace_of(right.place)
    return f"in namespace {namespace}" if namespace else "in the whole cluster"


def _live(cluster: DirectCluster, without: str = "") -> dict[Key, Object]:
    """Objects of the kinds of an account in a namespace."""
    return {
        (kind, cluster.namespace, str(item["metadata"]["name"])): item
        for kind, version in ACCOUNT_VERSIONS.items()
        if kind != without and kind not in EVERYWHERE
        for item in cluster.list_objects(kind, version) or ()
    }


def _text_of(path: str) -> str | None:
    """A file's text; None where there is none.

    :raises TreeError: if it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8") if Path(path).exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise TreeError(f"{path} cannot be read, and {_FILE} names it. Choose another file.") from error


def _foreign_file(login: _Login, account: str, namespace: str) -> Iterable[str]:
    """A file that is no login of this account is never written over: it may be how the administrator logs in."""
    if login.before is None:
        return
    token = token_in(login.before)
    if not is_ours(login.before):
        yield f"{login.near} was not written by this playbook, so it stays as it is. Choose another file."
    elif token is not None and token.account != user_name(account, namespace):
        yield (
            f"{login.near} logs in as {token.account}, and this run is about {user_name(account, namespace)}. Choose "
            "another file, or delete this one."
        )
