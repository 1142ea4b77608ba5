"""What `make demo` shows: a sample inventory, its table, a change, two mistakes, one object. Each screen is checked.

Standard library only: it runs in the environment of the demo, on a machine that has nothing else.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

SAMPLE = Path("collections/ansible_collections/queueops/celery/playbooks/inventory/openedx")
ROOT = Path(__file__).resolve().parents[2]
WIDTH = 99

NUMBER = "{lms: {high: {polling_interval: 10}}}"
TYPOS = "{lms: {high: {max_replica: 30, profil: fast}}}"


class NotAsExpected(Exception):
    """A screen does not show what it should."""


def expect(is_right: bool, what: str) -> None:
    """Stop the demo where a screen is not as it should be."""
    if not is_right:
        raise NotAsExpected(what)


def screen(number: int, title: str, lines: Iterable[str]) -> None:
    """Show one screen."""
    head = f"== {number} of 6: {title} "
    print(f"\n{head.ljust(WIDTH, '=')}\n", *lines, sep="\n", flush=True)


def deploy(build: Path, *options: str) -> tuple[int, str]:
    """Run the playbook on the sample, which writes files instead of asking a cluster."""
    values = {
        "celery_workers_output": "manifests",
        "celery_workers_manifests_dir": f"{build}/manifests",
        "celery_workers_tutor_root": f"{ROOT}/tests/checks/demo_site",
        "celery_workers_tutor_plugins_root": f"{build}/tutor-plugins",
    }
    # Each as YAML, so that a path may have spaces in it.
    extra = [word for name, value in values.items() for word in ("--extra-vars", f'{{"{name}": "{value}"}}')]
    run = subprocess.run(
        ["ansible-playbook", "queueops.celery.deploy", "-i", str(build / SAMPLE), *extra, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, f"{run.stdout}\n{run.stderr}"


def end_of(output: str) -> list[str]:
    """What a run says at its end."""
    found = output.rpartition("Say what was done]")[2].partition("\n")[2].partition("PLAY RECAP")[0]
    return [line for line in found.rstrip().splitlines() if not line.startswith(("ok: ", "changed: "))]


def inventory(build: Path) -> None:
    """The sample, without its comments."""
    text = (build / SAMPLE / "group_vars" / "celery_fleets.yml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "---"))]
    expect(any("celery_workers_preset: openedx" in line for line in lines), "the sample inventory")
    screen(1, "an Open edX site as an inventory", lines)


def table(build: Path) -> None:
    """What the inventory means, and the files that it makes."""
    code, output = deploy(build)
    lines = end_of(output)
    expect(code == 0, f"the run\n{output}")
    rows = [line.split()[:2] for line in lines if line.startswith(("  lms ", "  cms "))]
    expect(len(rows) == 6 and ["lms", "high_mem"] in rows, f"a table of six workers\n{output}")
    expect("skipping" not in output, f"no skipped task\n{output}")
    # The names of the files fill a screen of their own.
    start = lines.index("  created: 20")
    shown = [*lines[: start + 1], *lines[lines.index("", start) :]]
    expect(len(shown) < 40, f"one screen, not {len(shown)} lines")
    screen(2, "what it means: ansible-playbook queueops.celery.deploy", shown)


def number(build: Path) -> None:
    """One number in a layer over the inventory."""
    option = f"celery_workers_config__90_host: {NUMBER}"
    code, output = deploy(build, "--check", "--diff", "--extra-vars", f"{{{option}}}")
    changed = [line for line in output.splitlines() if re.match(r"[-+](?![-+])", line)]
    expect(code == 0 and len(changed) == 2, f"a diff of two lines\n{output}")
    expect("would be changed: 1" in output, f"one file that changes\n{output}")
    files = [line for line in end_of(output) if line.startswith("    file ")]
    screen(3, "one number changed, with --check --diff", [option, "", *(line.strip() for line in files), "", *changed])


def typos(build: Path) -> None:
    """Two mistakes, both told before anything is sent."""
    option = f"celery_workers_config__90_host: {TYPOS}"
    code, output = deploy(build, "--extra-vars", f"{{{option}}}")
    lines = end_of(output)
    told = " ".join(" ".join(lines).split())
    expect(code != 0, f"a run that is refused\n{output}")
    for word, meant in (("max_replica", "max_replicas"), ("profil", "profile")):
        expect(f"has no '{word}'; did you mean '{meant}'?" in told, f"{word} refused\n{output}")
    start = next(index for index, line in enumerate(lines) if line.strip() == "failed:")
    screen(4, "two typos, refused together", [option, "", *(line.removeprefix("    ") for line in lines[start + 1 :])])


def scaled_object(build: Path) -> None:
    """One of the objects; what all of them have is left out."""
    path = build / "manifests/openedx/lms/scaledobject-lms-worker-high-scaledobject.yaml"
    text = path.read_text(encoding="utf-8")
    expect("minReplicaCount: 0\n" in text and "listName: unacked:openedx.lms.high\n" in text, str(path))
    for pattern in (
        r"  labels:\n(?:    .*\n)+",
        r"    horizontalPodAutoscalerConfig:\n(?:      .*\n)+",
        r"(?:  - type: redis\n    name: backlog_p[369]\n    metadata:\n(?:      .*\n)+)+",
    ):
        text, count = re.subn(pattern, lambda found: f"{re.match(' *', found[0])[0]}# ...\n", text, count=1)  # type: ignore[index]
        expect(count == 1, f"{path} without its details")
    lines = [line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ..." for line in text.splitlines()]
    screen(5, f"one object: {path.relative_to(ROOT)}", lines)


def commands(build: Path) -> None:
    """How to do it by hand."""
    count = sum(path.is_file() for path in (build / "manifests").rglob("*"))
    expect(count > 0, "files in build/manifests")
    lines = [
        "python3 -m venv celery && . celery/bin/activate",
        "pip install ansible-core 'kubernetes>=24.2.0,!=36.0.0,!=36.0.1'",
        "ansible-galaxy collection install queueops.celery",
        "cp -r ~/.ansible/collections/ansible_collections/queueops/celery/playbooks/inventory/openedx inventory",
        "ansible-playbook queueops.celery.deploy -i inventory --check --diff    # look: nothing that lasts",
        "ansible-playbook queueops.celery.deploy -i inventory                   # do it",
        "",
        f"The {count} files of this demo are in build/manifests: kubectl apply --kustomize build/manifests/openedx",
    ]
    screen(6, "the same by hand, on a cluster with Tutor's Open edX", lines)


def main() -> int:
    """Show the screens, or say which is not as it should be."""
    build = Path(sys.argv[1])
    try:
        for show in (inventory, table, number, typos, scaled_object, commands):
            show(build)
    except (NotAsExpected, OSError) as error:
        print(f"The demo is not as expected: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
