# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled files of this collection, kept from run to run.

Python keeps what it has compiled of a package, beside the source. Ansible does not for collections: it compiles each
file at each start, which took a sixth of the processor time of an unchanged run. Nothing may be written beside the
source, because C(ansible-galaxy collection verify) would find it there.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import MAGIC_NUMBER, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from ansible import constants

#: What the names of this collection's plugins begin with.
_OWN = f"{__name__.removesuffix('.plugin_utils._bytecode')}."


@contextmanager
def kept_code() -> Iterator[None]:
    """Load files of this collection, and compile only what has changed since an earlier run of the same user."""
    if any(isinstance(each, _Finder) for each in sys.meta_path):
        # A plugin that loads another one.
        yield
        return
    kept = KeptCode(Path(constants.ANSIBLE_HOME) / "queueops-celery" / f"{sys.implementation.cache_tag}.bytecode")
    kept.read()
    finder = _Finder(kept)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        kept.write()


class KeptCode:
    """Compiled files, in one file of the user's.

    Each belongs to the path and the text of its source, so that what was edited, updated or moved is compiled anew,
    whatever its date. A file that cannot be read, that others could have written, or that is damaged counts as none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Name of a module to what it was compiled from and to.
        self._code: dict[str, tuple[bytes, bytes]] = {}
        self._is_new = False

    def read(self) -> None:
        """Take what earlier runs have left."""
        with suppress(OSError), self._path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                return
            digest, body = file.read(len(_digest())), file.read()
            # What was cut off or overwritten is never given to marshal, which may crash on it.
            if digest == _digest(body):
                self._code = marshal.loads(body)

    def compiled(self, name: str, path: str, source: bytes) -> CodeType:
        """The code of a module.

        :param path: of its file, by which tracebacks name it.
        :param source: what is in it.
        """
        digest = _digest(os.fsencode(path), source)
        before, code = self._code.get(name, (b"", b""))
        if before == digest:
            found: CodeType = marshal.loads(code)
            return found
        made: CodeType = compile(source, path, "exec", dont_inherit=True)
        self._code[name] = digest, marshal.dumps(made)
        self._is_new = True
        return made

    def write(self) -> None:
        """Leave what was compiled for later runs. They do without it where nothing can be written."""
        if not self._is_new or sys.dont_write_bytecode:
            return
        body = marshal.dumps(self._code)
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            # For this user alone, and in its place whole or not at all.
            with tempfile.TemporaryDirectory(dir=self._path.parent) as folder:
                spare = Path(folder) / self._path.name
                spare.touch(mode=0o600)
                spare.write_bytes(_digest(body) + body)
                spare.replace(self._path)


def _digest(*parts: bytes) -> bytes:
    """Stands for some bytes, as this version of Python compiles them."""
    found = hashlib.sha256(MAGIC_NUMBER)
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.digest()


class _Finder:
    """Finds the files of this collection before Ansible does. All else, their folders too, is left to Ansible."""

    def __init__(self, kept: KeptCode) -> None:
        self._kept = kept

    def find_spec(self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """As Python asks for it."""
        if not name.startswith(_OWN) or not path:
            return None
        file = os.path.join(path[0], f"{name.rpartition('.')[2]}.py")
        if not os.path.isfile(file):
            return None
        return spec_from_file_location(name, file, loader=_Loader(name, file, self._kept))


class _Loader(SourceFileLoader):
    """Loads a file as Python does, but for where its code comes from."""

    def __init__(self, name: str, path: str, kept: KeptCode) -> None:
        super().__init__(name, path)
        self._kept = kept

    def get_code(self, fullname: str) -> CodeType:
        """Kept, or compiled now."""
        return self._kept.compiled(fullname, self.path, self.get_data(self.path))
