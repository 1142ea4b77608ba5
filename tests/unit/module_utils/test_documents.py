# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML that is written fast is what PyYAML writes, byte for byte."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import (
    as_yaml,
    document_of,
    documents_of,
)
from hypothesis import example, given
from hypothesis import strategies as st

# Plain words, what YAML reads as something else, and what its writers quote, fold or break into lines.
TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="ab1 :#-\n\t'\"{}[],&*!|>%@`?=~\\.é\u2028\x85\U0001f600", max_size=12),
    st.sampled_from(
        ["", "yes", "On", "null", "~", "1", "1.5", "12e45", "0o17", "2026-01-01", "a: b", "a #b", "x" * 130]
    ),
    st.sampled_from(
        ["image:1.2", "a\n", "a\n\n", "\n", " a\nb", "a\n\nb\n", "-", "---", "=", "<<", "key:", "a b", "a  b"]
    ),
)
LEAVES = st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)


class PlainDumper(yaml.SafeDumper):
    """PyYAML's own writer with the styles that the collection asks for."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, data: str) -> Any:
    is_number = re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+", data)
    style = "|" if "\n" in data else "'" if is_number else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


PlainDumper.add_representer(str, _text)


def pyyaml(value: Any) -> str:
    return str(
        yaml.dump(
            value,
            Dumper=PlainDumper,
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
            width=float("inf"),
        )
    )


@given(VALUES)
@example({"a": {"b": ["x\n\n y\n", {"c": "d\ne"}, [["f\n"]]]}})
@example({"a": "keep\n\n"})
@example({"k" * 130: 1})
@example({"a": [" leading\nline", "", {}, [], {"b": {}}]})
def test_every_document_is_what_pyyaml_writes(value: Any) -> None:
    assert as_yaml(value) == pyyaml(value)


@given(st.dictionaries(st.text(alphabet="ab1 :#-'", min_size=1), st.text(alphabet="ab1 :#-\n'\""), min_size=1))
def test_what_is_written_is_read_back(value: dict[str, str]) -> None:
    assert documents_of(as_yaml(value)) == [value]


def test_what_is_no_yaml_is_refused_by_its_line() -> None:
    with pytest.raises(ValueError, match="line 2"):
        documents_of("a: 1\n b: [")


@pytest.mark.parametrize(
    ("text", "expected"), [("", None), ("# nothing", None), ("a: [1]", {"a": [1]}), ("---\na: 1\n", {"a": 1})]
)
def test_one_document_is_read_as_it_is(text: str, expected: Any) -> None:
    assert document_of(text) == expected


@pytest.mark.parametrize(
    ("text", "why"), [("a: 1\n---\nb: 2\n", "more than one"), ("a: [", "line 1"), ("a: 2026-99-99", "month")]
)
def test_several_documents_or_none_that_can_be_read_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        document_of(text)
