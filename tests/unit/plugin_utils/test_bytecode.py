# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled files are kept from run to run: never stale, never those of others, and silently where that cannot be."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.queueops.celery.plugins.plugin_utils._bytecode import KeptCode, kept_code

NAME = "ansible_collections.queueops.celery.plugins.module_utils._example"
OLD, NEW = b"answer = 1\n", b"answer = 2\n"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where compiled files are kept."""
    return tmp_path / "folder" / "kept"


def answer(kept: Path, source: bytes, path: str = "/there/_example.py") -> tuple[int, str]:
    """What a run finds in a file of that content, and where its code says that it is from."""
    found = KeptCode(kept)
    found.read()
    code = found.compiled(NAME, path, source)
    found.write()
    variables: dict[str, int] = {}
    exec(code, variables)
    return variables["answer"], code.co_filename


def state(path: Path) -> tuple[int, int]:
    """Changes whenever a file is written, or replaced by another one."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def test_a_second_run_finds_everything_and_writes_nothing(kept: Path) -> None:
    first = answer(kept, OLD)
    before = state(kept)
    assert answer(kept, OLD) == first == (1, "/there/_example.py")
    assert state(kept) == before


def test_an_edited_file_counts_although_nothing_but_its_text_differs(kept: Path) -> None:
    """Its length is the same, and its date is not asked for: archives and images give every file the same one."""
    assert [answer(kept, source)[0] for source in (OLD, NEW, OLD)] == [1, 2, 1]


def test_a_copy_elsewhere_says_where_it_is(kept: Path) -> None:
    assert answer(kept, OLD, "/here/a.py")[1] == "/here/a.py"
    assert answer(kept, OLD, "/there/a.py")[1] == "/there/a.py"


def test_what_is_kept_is_for_its_user_alone(kept: Path) -> None:
    before = os.umask(0)
    try:
        answer(kept, OLD)
    finally:
        os.umask(before)
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_what_others_could_have_written_is_not_taken(kept: Path) -> None:
    answer(kept, OLD)
    for mode in (0o620, 0o602):
        kept.chmod(mode)
        before = state(kept)
        assert answer(kept, OLD)[0] == 1
        assert state(kept) != before
        assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_what_another_user_has_written_is_not_taken(kept: Path) -> None:
    answer(kept, OLD)
    os.chown(kept, 12345, -1)
    assert answer(kept, OLD)[0] == 1
    assert kept.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("kind", ["empty", "cut off", "another", "text"])
def test_a_damaged_file_is_made_anew(kept: Path, kind: str) -> None:
    answer(kept, OLD)
    good = kept.read_bytes()
    middle = len(good) // 2
    damaged = {
        "empty": b"",
        "cut off": good[:-1],
        "another": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "text": b"no bytecode",
    }
    kept.write_bytes(damaged[kind])
    assert answer(kept, OLD)[0] == 1
    assert kept.read_bytes() == good


def test_where_nothing_can_be_written_runs_do_without(kept: Path) -> None:
    kept.parent.write_text("a file where a folder should be", encoding="utf-8")
    assert [answer(kept, OLD)[0], answer(kept, OLD)[0]] == [1, 1]
    assert kept.parent.is_file()


def test_who_wants_no_bytecode_gets_none(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert answer(kept, OLD)[0] == 1
    assert not kept.parent.exists()


def test_python_finds_modules_as_before_once_all_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ANSIBLE_HOME", str(tmp_path))
    before = list(sys.meta_path)
    with suppress(ImportError), kept_code():
        assert len(sys.meta_path) == len(before) + 1
        with kept_code():
            assert len(sys.meta_path) == len(before) + 1
        raise ImportError
    assert sys.meta_path == before
