# SPDX-License-Identifier: GPL-3.0-or-later
"""Secret values arrive in Secrets and nowhere else: not in another object, not in a file, not on the screen at -vvv.

The values are vaulted and templated, and some are words that stand everywhere in an inventory (`redis`, `lms`, `a`).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.cluster import LAST_APPLIED, MADE_KINDS, Cluster, Json, namespaces, new_namespace_name, path_of
from tests.integration.playbook import Player, Run, mode_of, vaulted, write_inventory

ODD = "p@:/#%"
UNIQUE = {"vault_key": "Kx81-vaulted-api-key-5d", "vault_long": "Zt64-long-broker-password-9f"}
CHANGED = {"vault_key": "Nw27-changed-api-key-3b", "vault_odd": "q@:/#%2"}
#: In an environment, where it is refused.
MISPLACED = "Rj55-password-in-a-url-2c"
WORDS = {"vault_lms": "lms", "vault_short": "a", "vault_odd": ODD}

SERVICES = """\
celery_workers_services:
  shop:
    app: shop.celery
    image: registry.example/shop:1
    secret_env:
      SHORT_TOKEN: "{{ vault_short }}"
  lms:
    image: registry.example/lms:1
    queue_name: "lms.{variant}"
    broker: {host: redis-lms, password: "{{ vault_lms }}"}
  odd:
    image: registry.example/odd:1
    queue_name: "odd.{variant}"
    broker:
      url: "redis://user:{{ vault_odd | urlencode | replace('/', '%2F') }}@redis-odd:6379/3"
  long:
    image: registry.example/long:1
    queue_name: "long.{variant}"
    broker: {host: redis-long, username: me, password: "{{ vault_long }}-templated"}
celery_workers_config:
  shop:
    default: {}
    mail:
      enable_keda: true
      min_replicas: 1
      secret_env:
        API_KEY: "{{ vault_key }}"
  lms: {default: {enable_keda: true, min_replicas: 1, probe: heartbeat}}
  odd: {default: {enable_keda: true, min_replicas: 1}}
  long: {default: {}}
celery_workers_broker:
  host: redis
  username: shop
"""
DEPLOYMENTS = ("shop-worker", "shop-worker-mail", "lms-worker", "odd-worker", "long-worker")


def write_variables(folder: Path, values: dict[str, str]) -> None:
    """group_vars with every secret vaulted; the broker's password is vaulted where it stands."""
    password_file = folder / "vault-password"
    password_file.write_text("only-for-this-test\n", encoding="utf-8")
    inline = vaulted(folder, password_file, {"password": "redis"})
    indented = "".join(f"  {line}\n" for line in inline.splitlines())
    text = f"{vaulted(folder, password_file, values)}\n{SERVICES}{indented}"
    target = folder / "group_vars" / "celery_fleets.yml"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, encoding="utf-8")


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def leaks(text: str) -> list[str]:
    """What in a text gives a secret value away."""
    long = [*UNIQUE.values(), CHANGED["vault_key"], ODD, CHANGED["vault_odd"], MISPLACED]
    urls = [
        "redis://shop:redis@redis:6379/0",
        "redis://:lms@redis-lms:6379/0",
        f"redis://user:{quote(ODD, safe='')}@redis-odd:6379/3",
        f"redis://me:{UNIQUE['vault_long']}-templated@redis-long:6379/0",
    ]
    plain = [*long, *urls, *(quote(value, safe="") for value in long), *(encoded(value) for value in [*long, *urls])]
    plain += [encoded(f"{UNIQUE['vault_long']}-templated"), ":redis@", ":lms@"]
    found = [value for value in plain if value in text]
    # A word that stands everywhere counts only where it stands as a secret.
    for word in ("redis", "lms", "a"):
        alone = rf"(?<![A-Za-z0-9+/=]){re.escape(encoded(word))}(?![A-Za-z0-9+/=])"
        as_value = rf"(?i)(password|SHORT_TOKEN)['\"\\]*\s*[:=]\s*['\"\\]*{word}['\"\\,}}\s]"
        found += [pattern for pattern in (alone, as_value) if re.search(pattern, text)]
    return found


def decoded(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    data = cluster.get("Secret", namespace, name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def templates(cluster: Cluster, namespace: str) -> dict[str, Json]:
    return {item["metadata"]["name"]: item["spec"]["template"] for item in cluster.select("Deployment", namespace)}


@dataclass
class Story:
    names: dict[str, str]
    runs: dict[str, Run] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    templates: dict[str, dict[str, Json]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)


class TestSecretValues:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path) -> Iterator[Story]:
        story = Story({host: new_namespace_name(host) for host in ("live", "refused", "files", "full", "plain")})
        names = story.names
        hosts: dict[str, Json] = {
            host: {"celery_workers_namespace": name, "celery_workers_wait": False} for host, name in names.items()
        }
        for host in ("files", "full"):
            hosts[host] |= {
                "celery_workers_output": "manifests",
                "celery_workers_manifests_dir": str(folder / "manifests"),
                "celery_workers_manifests_secrets": host == "full",
            }
        url = f"postgres://shop:{MISPLACED}@db/shop"
        hosts["plain"]["celery_workers_config__50_plain"] = {
            "shop": {
                "default": {"env": {"DATABASE_URL": url}},
                "mail": {"sidecars": [{"name": "x", "image": "x:1", "args": [f"--to={url}"]}]},
            }
        }
        if cluster.emulator is None:
            del hosts["refused"]
        inventory = write_inventory(folder, hosts)
        loud = ("-vvv", "--diff", f"--vault-password-file={folder / 'vault-password'}")

        def step(name: str, *options: str) -> None:
            story.runs[name] = player.deploy(inventory, *loud, *options, json_output=False)
            story.secrets[name] = decoded(cluster, names["live"], "shop-worker-mail-env")
            story.templates[name] = templates(cluster, names["live"])
            story.versions[name] = cluster.versions(names["live"])

        with namespaces(cluster, names["live"], names["refused"]):
            if cluster.emulator:
                quoted = (
                    f'Secret "x" is invalid: data: {UNIQUE["vault_key"]} {encoded(UNIQUE["vault_key"])} :redis@redis'
                )
                cluster.emulator.fail(
                    "POST",
                    path_of("Secret", names["refused"]),
                    times=None,
                    status=422,
                    reason="Invalid",
                    message=quoted,
                )
            write_variables(folder, UNIQUE | WORDS)
            step("first")
            step("again", "--limit=live")
            write_variables(folder, UNIQUE | WORDS | CHANGED)
            step("check", "--limit=live", "--check")
            step("changed", "--limit=live")
            yield story

    def test_the_right_values_arrive(self, cluster: Cluster, story: Story) -> None:
        assert story.runs["first"].recap["live"]["failed"] == 0
        live = story.names["live"]
        broker = decoded(cluster, live, f"{live}-celery-broker")
        assert broker == {"username": "shop", "password": "redis", "url": "redis://shop:redis@redis:6379/0"}
        assert decoded(cluster, live, "lms-worker-broker")["password"] == "lms"
        assert decoded(cluster, live, "shop-worker-env") == {"SHORT_TOKEN": "a"}
        assert story.secrets["first"] == {"SHORT_TOKEN": "a", "API_KEY": UNIQUE["vault_key"]}
        long = decoded(cluster, live, "long-worker-broker")
        assert long["password"] == f"{UNIQUE['vault_long']}-templated"
        assert long["url"] == f"redis://me:{UNIQUE['vault_long']}-templated@redis-long:6379/0"

    def test_a_password_of_odd_characters_is_encoded_in_its_url(self, cluster: Cluster, story: Story) -> None:
        odd = decoded(cluster, story.names["live"], "odd-worker-broker")
        assert odd["password"] == CHANGED["vault_odd"]
        assert odd["url"] == f"redis://user:{quote(CHANGED['vault_odd'], safe='')}@redis-odd:6379/3"

    def test_no_other_object_holds_a_value(self, cluster: Cluster, story: Story) -> None:
        for kind in set(MADE_KINDS) - {"Secret"}:
            for item in cluster.select(kind, story.names["live"]):
                text = json.dumps(item)
                assert leaks(text) == [], f"{kind} {item['metadata']['name']}"
                assert "*****" not in text
        scaled = cluster.get("ScaledObject", story.names["live"], "shop-worker-mail-scaledobject")
        assert scaled["spec"]["triggers"][0]["type"] == "redis"

    def test_secrets_carry_no_copy_of_their_values(self, cluster: Cluster, story: Story) -> None:
        found = cluster.select("Secret", story.names["live"])
        assert len(found) >= 6
        for item in found:
            assert LAST_APPLIED not in item["metadata"].get("annotations", {})

    @pytest.mark.parametrize("name", ["first", "again", "check", "changed"])
    def test_no_output_holds_a_value(self, story: Story, name: str) -> None:
        assert leaks(story.runs[name].output) == []

    def test_a_refused_secret_is_named_without_its_value(self, cluster: Cluster, story: Story) -> None:
        assert cluster.power
        assert story.runs["first"].recap["refused"]["failed"] == 1
        output = story.runs["first"].output
        assert f"Secret {story.names['refused']}-celery-broker was refused" in output
        assert "Invalid" in output
        assert [item for item in cluster.names(story.names["refused"]) if item.startswith("Deployment")] == []

    def test_a_password_in_plain_sight_is_refused_without_being_shown(self, story: Story) -> None:
        assert story.runs["first"].recap["plain"]["failed"] == 1
        output = story.runs["first"].output
        assert "celery_workers_config__50_plain.shop.default.env: DATABASE_URL looks like a secret" in output
        assert "celery_workers_config__50_plain.shop.mail.sidecars[0].args[0]: don't put a password here" in output

    def test_a_run_shows_who_reads_which_secret(self, story: Story) -> None:
        assert re.search(
            r"shop-worker-mail-env +API_KEY, SHORT_TOKEN +Deployment shop-worker-mail", story.runs["first"].output
        )

    def test_the_second_run_is_unchanged(self, story: Story) -> None:
        assert story.runs["again"].recap["live"] == story.runs["again"].recap["live"] | {"changed": 0, "failed": 0}
        assert story.versions["again"] == story.versions["first"]

    def test_check_mode_shows_the_change_and_makes_none(self, story: Story) -> None:
        assert story.runs["check"].recap["live"]["failed"] == 0
        assert story.runs["check"].recap["live"]["changed"] > 0
        assert "Secret shop-worker-mail-env" in story.runs["check"].output
        assert story.versions["check"] == story.versions["again"]

    def test_a_changed_secret_rolls_those_that_read_it(self, story: Story) -> None:
        assert story.secrets["changed"]["API_KEY"] == CHANGED["vault_key"]
        before, after = story.templates["check"], story.templates["changed"]
        assert set(after) == set(DEPLOYMENTS)
        assert {name for name in after if after[name] != before[name]} == {"shop-worker-mail", "odd-worker"}

    def test_check_mode_promises_the_same_rollouts(self, story: Story) -> None:
        shown = set(re.findall(r"^\+\+\+ after: Deployment (\S+)", story.runs["check"].stdout, re.M))
        assert shown == {"shop-worker-mail", "odd-worker"}

    def test_manifest_files_hold_no_value(self, folder: Path, story: Story) -> None:
        assert story.runs["first"].recap["files"]["failed"] == 0
        tree = folder / "manifests" / "files"
        files = [path for path in tree.rglob("*") if path.is_file()]
        assert files
        assert not (tree / "secrets.yaml").exists()
        for path in files:
            assert leaks(path.read_text(encoding="utf-8")) == [], path

    def test_secrets_are_written_on_request_for_the_owner_only(self, folder: Path, story: Story) -> None:
        assert story.runs["first"].recap["full"]["failed"] == 0
        tree = folder / "manifests" / "full"
        assert encoded(UNIQUE["vault_key"]) in (tree / "secrets.yaml").read_text(encoding="utf-8")
        # The search finds what is there.
        assert len(leaks((tree / "secrets.yaml").read_text(encoding="utf-8"))) >= 5
        assert mode_of(tree / "secrets.yaml") == "0o600"
        assert "secrets.yaml" in (tree / "kustomization.yaml").read_text(encoding="utf-8")
        others = [path for path in tree.rglob("*") if path.is_file() and path.name != "secrets.yaml"]
        for path in others:
            assert leaks(path.read_text(encoding="utf-8")) == [], path


#: Of the inventory, of the kubeconfig, and of an object that somebody else made.
ECHOED = {
    "password": "Vq83-echoed-broker-7a",
    "secret_env": "Hm29-echoed-variable-4e",
    "object": "Lp44-echoed-object-6d",
}


class TestTextsOfAServer:
    """A server that repeats what it was sent, or what it holds, in the text of a refusal."""

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, cluster: Cluster, player: Player, folder: Path) -> Iterator[dict[str, str]]:
        emulator = cluster.power
        names = {host: new_namespace_name(host) for host in ("listed", "applied", "checked", "files")}
        hosts: dict[str, Json] = {
            host: {"celery_workers_namespace": name, "celery_workers_wait": False} for host, name in names.items()
        }
        hosts["files"] |= {
            "celery_workers_output": "manifests",
            "celery_workers_manifests_dir": str(folder / "echoed"),
        }
        shared: Json = {
            "celery_workers_broker": {"host": "redis", "password": ECHOED["password"]},
            "celery_workers_services": {
                "shop": {"image": "registry.example/shop:1", "secret_env": {"PAY": ECHOED["secret_env"]}}
            },
            "celery_workers_config": {"shop": {"default": {"enable_keda": True, "min_replicas": 1}, "mail": {}}},
            "celery_workers_report_file": str(folder / "echoed.json"),
        }
        inventory = write_inventory(folder, hosts, shared, name="echoed")
        text = (
            f"forbidden: {ECHOED['password']} {encoded(ECHOED['secret_env'])} Authorization: Bearer {emulator.token} "
            f"redis://:{ECHOED['password']}@redis:6379/0 MYSQL_PASSWORD={ECHOED['object']}, token {emulator.token}, end"
        )
        with namespaces(cluster, *(name for host, name in names.items() if host != "files")):
            for host, method, kind in (
                ("listed", "GET", "Deployment"),
                ("applied", "POST", "Deployment"),
                ("checked", "POST", "Deployment"),
            ):
                path = path_of(kind, names[host])
                emulator.fail(method, path, times=None, status=403, reason="Forbidden", message=text)
            first = player.deploy(inventory, "-vvvv", "--diff", "--limit=!checked")
            report = (folder / "echoed.json").read_text(encoding="utf-8")
            dry = player.deploy(inventory, "-vvvv", "--check", "--diff", "--limit=!listed", json_output=False)
            files = [path for path in (folder / "echoed").rglob("*") if path.is_file()]
            yield {
                "json": first.output,
                "report": report,
                "check": dry.output,
                "report of check": (folder / "echoed.json").read_text(encoding="utf-8"),
                "files": "\n".join(path.read_text(encoding="utf-8") for path in files),
            }

    @pytest.mark.parametrize("where", ["json", "report", "check", "report of check", "files"])
    def test_no_secret_is_on_a_screen_or_in_a_file(self, cluster: Cluster, runs: dict[str, str], where: str) -> None:
        secrets = [*ECHOED.values(), str(cluster.power.token)]
        secrets += [encoded(text) for text in secrets]
        assert [text for text in secrets if text in runs[where]] == []

    @pytest.mark.parametrize("where", ["json", "report", "check"])
    def test_the_cause_is_said_all_the_same(self, runs: dict[str, str], where: str) -> None:
        assert "Forbidden: forbidden: ********" in runs[where]
        assert ", end" in runs[where]

    def test_the_files_were_written(self, runs: dict[str, str]) -> None:
        assert "kind: Deployment" in runs["files"]


def test_a_key_of_the_kubeconfig_leaves_no_file(folder: Path) -> None:
    """The client of Kubernetes reads keys from files only, so it writes them out."""
    key = base64.b64encode(UNIQUE["vault_key"].encode()).decode()
    user = {"client-key-data": key, "client-certificate-data": key}
    kubeconfig = folder / "kubeconfig"
    # Nothing listens there: what a run needs to connect is written before.
    server = {"server": "https://127.0.0.1:1"}
    content = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{"name": "one", "cluster": server}],
        "users": [{"name": "one", "user": user}],
    }
    kubeconfig.write_text(json.dumps(content), encoding="utf-8")
    services = {"shop": {"image": "shop:1", "queue_name": "{variant}"}}
    shared = {
        "celery_workers_namespace": "shop",
        "celery_workers_broker": {"host": "redis"},
        "celery_workers_services": services,
        "celery_workers_config": {"shop": {"default": {}}},
    }
    player = Player(folder, kubeconfig)
    run = player.deploy(write_inventory(folder, {"one": {}}, shared))
    assert "cannot be reached" in run.message("one")
    left = [path for path in (folder / "tmp").rglob("*") if path.is_file() and UNIQUE["vault_key"] in path.read_text()]
    assert left == []
