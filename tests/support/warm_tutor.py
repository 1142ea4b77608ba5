# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tutor of an environment with the libraries imported that it needs. Of Tutor itself nothing is: it takes over
variables of its environment while it is imported.

Templates are compiled once: Jinja's own cache of byte code keeps them by their text, in the environment.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from tests.support import warm_python

_OF_TUTOR = (
    "appdirs",
    "click",
    "click.shell_completion",
    "Crypto.Protocol.KDF",
    "Crypto.PublicKey.RSA",
    "email.headerregistry",
    "importlib_metadata",
    "importlib_resources",
    "jinja2",
    "jinja2.bccache",
    "urllib.request",
    "yaml",
)


def warm_tutor(environment: Path) -> list[str]:
    """The words that run tutor, before its arguments."""
    client, address = _server(environment)
    return [sys.executable, "-I", "-S", str(client), address, str(environment / "bin" / "tutor")]


@functools.cache
def _server(environment: Path) -> tuple[Path, str]:
    """The client's file, and where the server of an environment listens."""
    folder, client = warm_python.new_folder()
    python = environment / "bin" / "python"
    return client, warm_python.start_server(folder / "tutor-server", python=python, module=__name__)


# The server


def main() -> None:
    for name in _OF_TUTOR:
        importlib.import_module(name)
    jinja2: Any = importlib.import_module("jinja2")
    folder = Path(sys.prefix) / "templates"
    folder.mkdir(exist_ok=True)
    cache = jinja2.FileSystemBytecodeCache(os.fspath(folder))
    make = jinja2.Environment.__init__

    def make_with_cache(environment: Any, *args: Any, **options: Any) -> None:
        make(environment, *args, **{"bytecode_cache": cache, **options})

    jinja2.Environment.__init__ = make_with_cache
    warm_python.serve_programs(sys.argv[1])
