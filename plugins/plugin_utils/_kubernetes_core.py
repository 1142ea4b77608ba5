# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a cluster from the controller's process: kubernetes.core's own client, and its own action plugin.

Connection options, kubeconfig search, vaulted kubeconfigs, module_defaults, check mode and diff are kubernetes.core's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.loader import connection_loader
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    ClusterError,
    credentials_of,
    explained,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import document_of
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import plain
from ansible_collections.queueops.celery.plugins.plugin_utils._sending import send

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.apply import merge
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

Object = dict[str, Any]

#: Its action plugin finds and decrypts kubeconfigs.
_K8S = "kubernetes.core.k8s"


def remove_key_files() -> None:
    """Remove the files into which the client writes keys and certificates of a kubeconfig.

    It does so at the end of a program. The process of a task ends without one, so they would stay.
    """
    try:
        from kubernetes.config import kube_config
    except ImportError:
        return
    # No public name leads there. It forgets the files, so that a later connection writes them again.
    kube_config._cleanup_temp_files()


def merged(last_applied: Object, wanted: Object, live: Object) -> Object:
    """kubernetes.core's three-way merge."""
    patch: Object = merge(last_applied, wanted, live)
    return patch


class KubernetesCore:
    """kubernetes.core for one task of ours.

    :param action: the running action plugin of ours.
    :param connection: connection options of the role.
    """

    def __init__(self, action: Any, task_vars: Mapping[str, Any], connection: Mapping[str, Any]) -> None:
        self.action = action
        # Everything runs here, whatever machine the host is.
        self.task_vars = {**task_vars, "ansible_python_interpreter": sys.executable}
        self.connection_options = dict(connection)
        self.options = {**self._defaults(), **connection}
        self.connection = self._local_connection()

    def _defaults(self) -> dict[str, Any]:
        """What module_defaults say of kubernetes.core.k8s."""
        found: dict[str, Any] = {}
        for default in self.action._task.module_defaults or []:
            found.update(default)
        options: dict[str, Any] = {}
        for name in (f"group/{_K8S}", _K8S):
            options.update(plain_options(self.action._templar.template(found.get(name) or {}), self.task_vars))
        return options

    def _local_connection(self) -> Any:
        own = self.action._connection
        if own.transport == "local" and not getattr(own, "become", None):
            return own
        play_context = self.action._play_context.copy()
        play_context.become = False
        made = connection_loader.get("ansible.builtin.local", play_context, os.devnull)
        made.set_options(var_options=self.task_vars)
        return made

    def open(self, namespace: str, hidden: frozenset[str]) -> DirectCluster:
        """Connect.

        :param hidden: secret values that the server's texts may repeat.
        :raises ClusterError: if there is no way to the API.
        """
        lacking = what_is_missing(MISSING, find_spec("kubernetes") is not None)
        if lacking:
            raise ClusterError(lacking)
        with self._environment():
            wrong = self._wrong_kubeconfig()
            if wrong:
                raise ClusterError(wrong)
            try:
                client = get_api_client(**self._found_kubeconfig())
                return DirectCluster(client, namespace, hidden=hidden | credentials_of(client))
            except AnsibleError as error:
                raise ClusterError(str(error)) from error
            except Exception as error:  # a client raises what its network library raises
                raise explained(error, hidden=hidden | self._credentials()) from error

    def _credentials(self) -> frozenset[str]:
        """Tokens and passwords of the connection and of its kubeconfig, as far as these can be read here."""
        given = [self.options.get(name) for name in ("api_key", "password")]
        path = self._named("kubeconfig")[0] or os.environ.get("KUBECONFIG") or "~/.kube/config"
        files = [path] if isinstance(path, Mapping) else map(_yaml_of, self._contents(str(path)))
        users = [user for file in files for user in kubeconfig_secrets(file)]
        return frozenset(str(text) for text in [*given, *users] if text)

    def _contents(self, path: str) -> list[str]:
        """The files that a path of a kubeconfig names, as far as they can be read."""
        content: list[str] = []
        for part in path.split(os.pathsep):
            try:
                found = str(self.action._find_needle("files", os.path.expanduser(part)))
                content.append(Path(self.action._loader.get_real_file(found)).read_text(encoding="utf-8"))
            except (AnsibleError, OSError, ValueError):
                continue
        return content

    def _named(self, option: str) -> tuple[Any, str]:
        """An option of the connection as given, and the variable that gives it."""
        if self.options.get(option):
            given = option in self.connection_options
            return self.options[option], f"celery_workers_{option}" if given else f"{option} in module_defaults"
        variable = f"K8S_AUTH_{option.upper()}"
        return os.environ.get(variable), variable

    def _wrong_kubeconfig(self) -> str:
        """A kubeconfig that is not there, or that has not the context asked for; empty if nothing is wrong."""
        (path, named_by), (context, context_by) = self._named("kubeconfig"), self._named("context")
        if not isinstance(path, str) or not path:
            return ""
        return kubeconfig_problem(path, named_by, self._contents(path), str(context or ""), context_by)

    def _found_kubeconfig(self) -> dict[str, Any]:
        """The options with the kubeconfig as kubernetes.core finds and decrypts it."""
        options = dict(self.options)
        if options.get("kubeconfig"):
            self._plugin({}).get_kubeconfig(options["kubeconfig"], False, options)
        return options

    def send(self, arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
        """Send objects as kubernetes.core.k8s does.

        :param hides: whether neither the arguments nor the result may show on any screen.
        :param new: kind and name of those that the run has looked for and not found.
        """
        plugin = self._plugin({**self.options, **arguments}, hides)
        # Nothing is copied to another machine, and no program is started.
        plugin.TRANSFERS_FILES = False
        plugin._execute_module = partial(self._send_here, new)
        try:
            result: Object = plugin.run(task_vars=self.task_vars)
        except AnsibleError as error:
            result = {"failed": True, "msg": str(error)}
        return plain_result(result)

    def _send_here(self, new: Collection[str], module_args: Object, **_where: Any) -> Object:
        with self._environment():
            return send(plain(module_args), bool(self.action._task.check_mode), new)

    def _plugin(self, arguments: Object, hides: bool = False) -> Any:
        action = self.action
        task = action._task.copy(exclude_parent=False)
        task.action = _K8S
        task.args = arguments
        task.diff = True
        task.no_log = hides or task.no_log
        play_context = action._play_context.copy()
        play_context.become = False
        play_context.no_log = hides or play_context.no_log
        return action._shared_loader_obj.action_loader.get(
            _K8S,
            task=task,
            connection=self.connection,
            play_context=play_context,
            loader=action._loader,
            templar=action._templar,
            shared_loader_obj=action._shared_loader_obj,
        )

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """The environment that the play gives to its tasks, for what runs in this process."""
        given: dict[str, str] = {}
        environments = self.action._task.environment or []
        for item in environments if isinstance(environments, list) else [environments]:
            found = self.action._templar.template(item) if item else {}
            given.update({str(name): str(value) for name, value in dict(found or {}).items()})
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})


def what_is_missing(collection: ImportError | None, has_client: bool) -> str:
    """What kubernetes.core needs and is not installed, with the command that installs it; empty if nothing is."""
    other = "Or set celery_workers_output: manifests, which needs no cluster."
    if not has_client:
        return (
            f"The Python package kubernetes is not installed in Ansible's own Python, {sys.executable}. Install it: "
            f"{sys.executable} -m pip install kubernetes. {other}"
        )
    if collection is not None:
        return (
            "The collection kubernetes.core is not installed. Install it: ansible-galaxy collection install "
            f"kubernetes.core. {other}"
        )
    return ""


def kubeconfig_problem(path: str, named_by: str, contents: list[str], context: str, context_by: str) -> str:
    """What is wrong with the kubeconfig and the context that a run names; empty if nothing is.

    :param contents: of the files at the path that could be read.
    """
    if not contents:
        return f"There is no kubeconfig at {path}, or it cannot be read. {named_by} names it: write the path of one."
    try:
        files = [document_of(text) for text in contents]
    except ValueError:
        return f"{path} is no YAML, so it is no kubeconfig. {named_by} names it: write the path of one."
    listed = [item for file in files if isinstance(file, Mapping) for item in file.get("contexts") or []]
    names = [str(item["name"]) for item in listed if isinstance(item, Mapping) and "name" in item]
    if context and context not in names:
        found = f"It has: {', '.join(names)}." if names else "It has none."
        return f"The kubeconfig {path} has no context {context}, which {context_by} names. {found}"
    return ""


def kubeconfig_secrets(content: Any) -> Iterator[str]:
    """Tokens, passwords and keys of the users of a kubeconfig."""
    if isinstance(content, Mapping):
        for name, item in content.items():
            if str(name) in _CREDENTIALS and isinstance(item, str):
                yield item
            else:
                yield from kubeconfig_secrets(item)
    elif isinstance(content, list):
        for item in content:
            yield from kubeconfig_secrets(item)


#: Keys of a kubeconfig that hold a secret.
_CREDENTIALS = {"token", "password", "client-key-data", "access-token", "id-token", "refresh-token", "client-secret"}


def _yaml_of(text: str) -> Any:
    try:
        return document_of(text)
    except ValueError:
        return None


def plain_options(options: Any, task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Options as plain data, without those that are left out on purpose."""
    omitted = task_vars.get("omit")
    return {
        str(name): plain(value)
        for name, value in dict(options or {}).items()
        if type(value).__name__ != "Omit" and (omitted is None or value != omitted)
    }


def plain_result(result: Mapping[str, Any]) -> Object:
    """A result as plain data."""
    found: Object = plain(result)
    return found
