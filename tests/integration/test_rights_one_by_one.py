# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each right of an account taken away: what needs it fails, and names verb, resource, namespace and the way out.

Before each run only the kind that it is about differs from the inventory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import FEATURES, resource_of
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import FleetRun
from ansible_collections.queueops.celery.plugins.plugin_utils._rights_run import RightsRun
from ansible_collections.queueops.celery.plugins.plugin_utils._status_run import StatusRun

from tests.integration.cluster import REAL_CLUSTER, Json
from tests.integration.test_rights import (
    EVERYTHING,
    KEDA_NAMESPACE,
    MADE,
    MARKS,
    NAMESPACE,
    Core,
    Need,
    answering,
    forget_what_was_applied,
    granted,
    own_objects,
)
from tests.support.kubernetes_emulator import Emulator
from tests.unit.model_cluster import host_run, host_variables

KINDS = {resource_of(kind): kind for kind in MADE}
ROLES = ((NAMESPACE, "celery-workers"), (KEDA_NAMESPACE, "celery-workers-shop"))
#: Without these a run warns less, or of something else.
PODMONITORS: Need = ("list", "monitoring.coreos.com", "podmonitors", NAMESPACE)
#: A site without Jobs has no ScaledJob.
SCALED_JOBS: Need = ("list", "keda.sh", "scaledjobs", NAMESPACE)
UNTOLD = {("list", "autoscaling.k8s.io", "verticalpodautoscalers", NAMESPACE), PODMONITORS, SCALED_JOBS, *MARKS}
#: Needs that only the status has.
SEEN = {("list", "", "events", NAMESPACE), ("get", "", "services/proxy", KEDA_NAMESPACE)}
NEEDS = sorted(granted(FEATURES) - UNTOLD - SEEN)
LOOKS = sorted({*SEEN, ("list", "", "pods", NAMESPACE), *(need for need in NEEDS if need[2] == "pods/exec")})


@dataclass
class Site:
    """A site that was deployed by its account.

    :param deployed: its objects.
    """

    emulator: Emulator
    admin: Core
    account: Core
    variables: Json
    deployed: Any = None

    def run(self, core: Core, kind: type[FleetRun] = FleetRun, **more: Any) -> Any:
        return host_run(kind, core, {**self.variables, "key_change": "accept", **more}, core.checks)

    def status(self, **more: Any) -> str:
        """What the page of the status says is wrong."""
        account: Any = self.account
        found = StatusRun("one", lambda: host_variables({**self.variables, **more}), lambda _given: account).look()
        assert not found.failed
        return "\n".join(problem.sentence for problem in found.problems)

    @contextmanager
    def without(self, need: Need) -> Iterator[None]:
        """The deployed site, whose account lacks a right."""
        verb, group, resource, _place = need
        self.emulator.restore(self.deployed)
        for place, name in ROLES:
            role = self.emulator.get("Role", name, place)
            assert role is not None
            kept = [
                {**rule, "resources": [one], "verbs": [word for word in rule["verbs"] if not cut or word != verb]}
                for rule in role["rules"]
                for one in rule["resources"]
                for cut in [rule["apiGroups"] == [group] and one == resource]
            ]
            self.emulator.add({**role, "rules": kept})
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if REAL_CLUSTER:
        pytest.skip("needs the emulator: it takes rights away")
    folder = tmp_path_factory.mktemp("rights")
    with Emulator(namespaces=[NAMESPACE], enforces_rights=True) as emulator:
        emulator.exec_handler = answering
        emulator.install_keda(KEDA_NAMESPACE)
        login = folder / "login.yml"
        admin = Core(emulator.write_kubeconfig(folder / "admin"))
        found = Site(emulator, admin, Core(login), {**EVERYTHING, "rbac_kubeconfig": str(login)})
        assert not found.run(admin, RightsRun).bring().get("failed")
        assert not found.run(found.account).apply().get("failed")
        found.deployed = emulator.snapshot()
        yield found


def listed(site: Site, kind: str) -> str:
    return told(site.run(site.account).apply())


def written(site: Site, kind: str) -> str:
    forget_what_was_applied(site.emulator, [kind])
    return told(site.run(site.account).apply())


def created(site: Site, kind: str) -> str:
    for item in own_objects(site.emulator, [kind]):
        site.emulator.forget(kind, item["metadata"]["name"], NAMESPACE)
    return told(site.run(site.account).apply())


def deleted(site: Site, kind: str) -> str:
    """Nothing else is left of the fleet."""
    for item in own_objects(site.emulator, MADE - {kind}):
        site.emulator.forget(item["kind"], item["metadata"]["name"], NAMESPACE)
    return told(site.run(site.account, state="absent").apply())


RUNS: dict[str, Callable[[Site, str], str]] = {
    "list": listed,
    "get": written,
    "patch": written,
    "create": created,
    "delete": deleted,
}


def told(result: Json) -> str:
    """Why a run failed, which it must have."""
    assert result.get("failed")
    return str(result["msg"])


def words(need: Need) -> str:
    verb, group, resource, place = need
    main, slash, rest = resource.partition("/")
    return f"{verb} on {main}{f'.{group}' if group else ''}{slash}{rest} in namespace {place}"


@pytest.mark.parametrize("need", NEEDS, ids=words)
def test_what_needs_a_right_fails_without_it_and_names_it(site: Site, need: Need) -> None:
    verb, group, resource, _place = need
    kind = KINDS.get((group, resource))
    with site.without(need):
        message = RUNS[verb](site, kind) if kind is not None else told(site.run(site.account).verify())
    assert f"The account lacks: {words(need)}. An administrator grants" in message
    assert "queueops.celery.rbac" in message
    assert "system:serviceaccount:shop:celery-workers" in message


def test_a_removal_goes_on_without_a_right_to_find_a_kind_and_says_so(site: Site) -> None:
    with site.without(PODMONITORS):
        result = site.run(site.account, state="absent").apply()
    assert not result.get("failed")
    (warning,) = (text for text in result["warnings"] if "may not list PodMonitor in namespace shop" in text)
    assert "queueops.celery.rbac" in warning


@pytest.mark.parametrize("need", LOOKS, ids=words)
def test_the_status_says_what_it_could_not_see_and_who_grants_it(site: Site, need: Need) -> None:
    with site.without(need):
        # What KEDA does not tell, a pod would.
        page = site.status(status_ask_pods=need[2] != "services/proxy")
    assert f"grant {words(need)}, as ansible-playbook queueops.celery.rbac does" in page


def test_with_all_its_rights_the_status_has_nothing_to_say(site: Site) -> None:
    site.emulator.restore(site.deployed)
    assert site.status() == ""


# The account itself


def test_a_check_makes_no_account_and_writes_no_kubeconfig(site: Site, tmp_path: Path) -> None:
    site.emulator.restore(site.deployed)
    before = site.emulator.objects("ServiceAccount", NAMESPACE)
    wanted = {"rbac_account": "night", "rbac_kubeconfig": str(tmp_path / "login")}
    result = site.run(Core(site.admin.kubeconfig, checks=True), RightsRun, **wanted).bring()
    assert result["changed"]
    assert site.emulator.objects("ServiceAccount", NAMESPACE) == before
    assert not (tmp_path / "login").exists()


def test_a_second_run_keeps_the_kubeconfig_and_another_account_renews_it(site: Site) -> None:
    site.emulator.restore(site.deployed)
    before = site.account.kubeconfig.read_text(encoding="utf-8")
    assert not site.run(site.admin, RightsRun).bring()["changed"]
    assert site.account.kubeconfig.read_text(encoding="utf-8") == before
    # A wider mode, and another time, are put right.
    site.account.kubeconfig.chmod(0o644)
    assert site.run(site.admin, RightsRun).bring()["changed"]
    assert site.account.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert site.run(site.admin, RightsRun, rbac_kubeconfig_lifetime="2d").bring()["changed"]
    assert not site.run(site.admin, RightsRun, rbac_kubeconfig_lifetime="2d").bring()["changed"]


def test_a_server_that_grants_less_is_told_of(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.emulator.restore(site.deployed)
    monkeypatch.setattr(site.emulator._tokens, "longest", 3600)
    (warning,) = site.run(site.admin, RightsRun, rbac_kubeconfig=str(tmp_path / "login")).bring()["warnings"]
    assert "grants a token for 1 hours" in warning


def test_the_account_may_grant_itself_nothing(site: Site) -> None:
    site.emulator.restore(site.deployed)
    for state in ("present", "absent"):
        message = told(site.run(site.account, RightsRun, rbac_state=state).bring())
        assert message.endswith("Kubernetes lets only those grant a right who hold it themselves.")


def test_where_KEDA_is_is_told_to_who_cannot_find_it(site: Site) -> None:
    site.emulator.restore(site.deployed)
    site.emulator.install_keda("autoscaling")
    result = site.run(site.admin, RightsRun).bring()
    assert any("celery_workers_keda_namespace: autoscaling" in warning for warning in result["warnings"])
    assert "Role celery-workers-shop" in result["created"]
