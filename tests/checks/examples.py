# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the example inventories of all pages with the real model, and checks the links between the pages.

A comment before a YAML block says what it is; readers do not see it:

- C(<!-- inventory: shop -->): the variables of one host, complete.
- C(<!-- inventory: over shop -->): variables that are laid over the ones of that name on the same page.
- C(<!-- inventory: over shop, refused -->): the same, and the model must refuse it.

A C(text) block right after one of these is what a run says of it: each message that it shows, from its path to the rule
that it names, must be one of the model's own.

A block that writes a whole hosts file (C(celery_fleets:)) stands for the variables of its first host, a playbook for
those of its first play. A YAML block without such a comment is only checked to be YAML.

A block that readers are told to copy or to save is a whole inventory, or the sentence names its file. Pages for
contributors name files and tests that exist.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import watching_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.watching import PARTS
from ansible_collections.queueops.celery.plugins.module_utils._read.loads import read_loads
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import LAYERED, Inventory
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import LAYER_NAME, PREFIX, Layer
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError, Problems
from ansible_collections.queueops.celery.plugins.module_utils._schema.versions import Versions
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.checks import layout
from tests.support.secret_manifests import secret_manifests

SPECS = layout.ROOT / "roles" / "celery_workers" / "meta" / "argument_specs.yml"
BLOCK = re.compile(
    r"(?:^<!-- inventory: (?P<mark>[^>]+?) -->\n+)?^(?P<indent> *)```ya?ml\n(?P<text>.*?)^(?P=indent)```", re.M | re.S
)
# Galaxy shows the README without the files around it, so its links are complete; here they are read as files.
PUBLISHED = re.compile(
    r"\]\(https://(?:github\.com/queueops/celery/blob|raw\.githubusercontent\.com/queueops/celery)/main/"
)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)(?P<file>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
HEADING = re.compile(r"^#+ +(.+)$", re.M)
#: Printed text that follows a block.
SAID = re.compile(r"\s*^```text\n(?P<text>.*?)^```", re.M | re.S)
#: One message with the rule that may be accepted, whatever the lines it is broken into.
MESSAGE = re.compile(r"celery_workers_\w+\S*: .*?accept_risks: \[[a-z-]+\]", re.S)
FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)

#: The paragraph right before a block (and before its comment), in which readers are told to copy it.
TOLD = re.compile(r"(?P<text>(?:^[^\n]+\n)+)\n*(?:<!-- [^>]+ -->\n+)?\Z", re.M)
COPY = re.compile(r"\b(?:copy|save)\b(?! for)", re.I)
FILE_NAME = re.compile(r"`[\w./<>-]+\.(?:ya?ml|json|py|cfg|conf|sh|env)`")
#: Files and tests in the pages for contributors: C(`plugins/…`), C(`test_x.py::test_name`), C(`::test_name`).
NAMED_FILE = re.compile(r"`((?:plugins|roles|tests|docs|extensions|playbooks|changelogs|requirements|meta)/[\w./*-]+)`")
NAMED_TEST = re.compile(r"`(?P<file>[\w/]*test_\w+\.py)?::(?P<name>test_\w+)`")

#: Words that are read in ten minutes, and lines of the README.
LONGEST_PAGE, LONGEST_README = 2500, 250
REFERENCE = ("keys.md", "safety-rules.md", "contributing-defects.md")

#: Variables of the role that the model reads beside the layered ones.
OTHERS = ("openedx_routing", "openedx_release", "routing_delivery", "autoscaler_conflict", "take_over")

Variables = dict[str, Any]


class Loader(yaml.SafeLoader):
    """YAML as inventories have it."""


def vaulted(loader: Loader, node: yaml.Node) -> str:
    """What a vaulted value stands for here."""
    return "from-the-vault"


Loader.add_constructor("!vault", vaulted)


@dataclass(frozen=True)
class Example:
    """One YAML block of a page."""

    page: Path
    line: int
    mark: str
    text: str
    said: str = ""

    @property
    def place(self) -> str:
        """File and line, as editors take it."""
        return f"{self.page.relative_to(layout.ROOT)}:{self.line}"


def pages() -> list[Path]:
    """The pages that users and contributors read."""
    root = layout.ROOT
    roles = sorted(root.glob("roles/*/README.md"))
    return [root / "README.md", *contributing(), root / "SECURITY.md", *roles, *sorted((root / "docs").glob("*.md"))]


def contributing() -> list[Path]:
    """The pages for contributors, which name files and tests."""
    return [layout.ROOT / "CONTRIBUTING.md", layout.ROOT / "docs" / "contributing-defects.md"]


def examples(page: Path) -> Iterator[Example]:
    """All YAML blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        indent = len(found["indent"])
        body = "\n".join(line[indent:] for line in found["text"].split("\n"))
        line = text.count("\n", 0, found.start("text")) + 1
        said = SAID.match(text, found.end())
        yield Example(page, line, found["mark"] or "", body, said["text"] if said else "")


def host_variables(data: Any) -> Variables:
    """Variables of the one host that a block is about."""
    if isinstance(data, dict) and "celery_fleets" in data:
        group = data["celery_fleets"]
        hosts = group.get("hosts") or {}
        first = next(iter(hosts.values()), None)
        return {**(group.get("vars") or {}), **(first or {})}
    if isinstance(data, list) and data and isinstance(data[0], dict) and "hosts" in data[0]:
        return dict(data[0].get("vars") or {})
    if not isinstance(data, dict):
        raise ValueError("an inventory is a dict of variables")
    return data


def templated(value: Any, variables: Variables) -> Any:
    """A value with its templates filled in, as far as the page itself defines them."""
    if isinstance(value, dict):
        return {key: templated(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [templated(item, variables) for item in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    environment = jinja2.Environment(autoescape=False)
    elsewhere = dict.fromkeys(jinja2.meta.find_undeclared_variables(environment.parse(value)), "given-elsewhere")
    text = environment.from_string(value).render({**elsewhere, **variables})
    return templated(text, variables) if text != value else text


def over(lower: Variables, upper: Variables) -> Variables:
    """Variables of a fragment over those of a whole inventory: a last layer where there are layers."""
    found = dict(lower)
    for name, value in upper.items():
        layered = name.removeprefix(PREFIX) in LAYERED and name in lower
        found[f"{name}__99_example" if layered else name] = value
    return found


def read(variables: Variables) -> tuple[str, ...]:
    """Do with an inventory what the role does, short of sending it.

    :returns: the warnings.
    :raises InventoryError: if the role would refuse it.
    """
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["variables"]["options"]
    variables = {name: templated(value, variables) for name, value in variables.items()}
    ours = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    layers = [
        {"name": name, "value": value}
        for name, value in ours.items()
        if name.removeprefix(PREFIX) in LAYERED or LAYER_NAME.match(name)
    ]
    namespace, fleet = str(ours.get(f"{PREFIX}namespace", "")), str(ours.get(f"{PREFIX}fleet", ""))
    preset = str(ours.get(f"{PREFIX}preset", ""))
    inventory = Inventory(
        namespace=namespace,
        fleet=fleet,
        preset=preset,
        layers=tuple(Layer(item["name"], item["value"]) for item in redacted_layers(layers)),
        explicit_queues=ours.get(f"{PREFIX}explicit_queues"),
        versions={item.name: ours.get(f"{PREFIX}{item.name}_version", "") for item in fields(Versions)},
        known_variables=(*options, f"{PREFIX}hosts"),
        variable_names=tuple(ours),
        enabled=tuple(part for part in PARTS if ours.get(f"{PREFIX}{part}_enabled")),
        output=str(ours.get(f"{PREFIX}output", "cluster")),
        **{name: ours[PREFIX + name] for name in OTHERS if PREFIX + name in ours},
    )
    model = parse_fleet(inventory)
    worker_resources(model)
    scaler_resources(model)
    watching_resources(model)
    secret_manifests(layers, namespace, fleet, preset, enabled=inventory.enabled, output=inventory.output)
    if not model.variants:
        raise ValueError("no variant came of it")
    problems = Problems()
    read_loads(ours.get(f"{PREFIX}loads"), model, problems)
    problems.raise_any()
    return model.warnings


def unsaid(example: Example, messages: Iterable[str]) -> Iterator[str]:
    """Messages that a page shows and the model does not give."""
    known = {" ".join(message.replace("__99_example", "").split()) for message in messages}
    for found in MESSAGE.findall(example.said):
        text = " ".join(found.split())
        if not any(message.startswith(text) for message in known):
            near = difflib.get_close_matches(text, known, n=1, cutoff=0)
            yield f"{example.place}: the page shows a message that nobody gives: {text} Given: {near}"


def check_page(page: Path) -> Iterator[str]:
    """What is wrong with the YAML of a page."""
    named: dict[str, Variables] = {}
    for example in examples(page):
        try:
            data = yaml.load(example.text, Loader)  # a safe loader with one more tag
        except yaml.YAMLError as error:
            yield f"{example.place}: this is not YAML: {error}"
            continue
        if not example.mark:
            if re.search(r"^ *celery_workers_\w+:", example.text, re.M) and example.page.name != "keys.md":
                yield f"{example.place}: say before the block which inventory it is: <!-- inventory: name -->"
            continue
        kind, _comma, wanted = (part.strip() for part in example.mark.partition(","))
        variables = host_variables(data)
        if kind.startswith("over "):
            variables = over(named[kind.removeprefix("over ")], variables)
        else:
            named[kind] = variables
        try:
            yield from unsaid(example, read(variables))
        except InventoryError as error:
            if wanted != "refused":
                yield f"{example.place}: {error}"
            yield from unsaid(example, (str(problem) for problem in error.problems))
        except ValueError as error:
            yield f"{example.place}: {error}"
        else:
            if wanted == "refused":
                yield f"{example.place}: the model takes this, and the page says that it does not"


def check_copies(page: Path) -> Iterator[str]:
    """Blocks that readers are told to copy, and that are a fragment of nobody knows which file."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        told = TOLD.search(text[: found.start("indent")])
        sentence = told["text"].strip() if told else ""
        if COPY.search(sentence) and not FILE_NAME.search(sentence) and "celery_fleets" not in found["text"]:
            line = text.count("\n", 0, found.start("text")) + 1
            yield f"{page.relative_to(layout.ROOT)}:{line}: say into which file this block goes: {sentence!r}"


def check_length(page: Path) -> Iterator[str]:
    """Pages that take longer than ten minutes to read; one looks things up in a reference."""
    text = page.read_text(encoding="utf-8")
    words, lines = len(text.split()), text.count("\n")
    if words > LONGEST_PAGE and page.name not in REFERENCE:
        yield f"{page.relative_to(layout.ROOT)}: {words} words are more than {LONGEST_PAGE}; split the page"
    if page == layout.ROOT / "README.md" and lines >= LONGEST_README:
        yield f"README.md: {lines} lines, and it has to have fewer than {LONGEST_README}"


def check_names(page: Path) -> Iterator[str]:
    """Files and tests that a page for contributors names and that do not exist."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for name in NAMED_FILE.findall(text):
        if not list(layout.ROOT.glob(name.rstrip("/"))):
            yield f"{page.relative_to(layout.ROOT)}: there is no {name}"
    source = ""
    for found in NAMED_TEST.finditer(text):
        if found["file"]:
            folder = "tests" if "/" in found["file"] else "tests/unit/module_utils"
            file = layout.ROOT / folder / found["file"]
            source = file.read_text(encoding="utf-8") if file.exists() else ""
        if not re.search(rf"def {found['name']}\(", source):
            yield f"{page.relative_to(layout.ROOT)}: there is no test {found[0]}"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w -]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in plain}


def check_links(page: Path) -> Iterator[str]:
    """Links of a page that lead nowhere."""
    text = PUBLISHED.sub(f"]({layout.ROOT}/", FENCE.sub("", page.read_text(encoding="utf-8")))
    for found in LINK.finditer(text):
        target = (page.parent / found["file"]).resolve() if found["file"] else page
        if not target.exists():
            yield f"{page.relative_to(layout.ROOT)}: there is no {found['file'].removeprefix(str(layout.ROOT))}"
        elif found["anchor"] and target.suffix == ".md" and found["anchor"] not in anchors(target):
            yield f"{page.relative_to(layout.ROOT)}: {target.name} has no heading #{found['anchor']}"


def main() -> int:
    """Print what is wrong; the exit code is 1 if anything is."""
    checks = (check_page, check_links, check_copies, check_length)
    problems = [problem for page in pages() for check in checks for problem in check(page)]
    problems += [problem for page in contributing() for problem in check_names(page)]
    for problem in problems:
        print(problem)
    if not problems:
        count = sum(1 for page in pages() for example in examples(page) if example.mark)
        print(f"{count} example inventories are good.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
