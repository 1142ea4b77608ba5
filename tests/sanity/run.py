"""Run ansible-test sanity, without ignores, on ansible-core 2.19, or with --newest on 2.21 (Python 3.12 or newer).

python -m tests.sanity.run [--newest | virtual environment...]   (none: .venv-test; --newest: one made under build/)

On 2.19 it reads what is shipped, with the Python of the environment: that takes three minutes of processor. With
--newest, or where environments are named, it reads the tests, too, and compiles and imports with every Python that is
found: six minutes. Standard library only.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.checks import layout

HOME = layout.BUILD / "sanity"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

# ansible-test starts every fresh environment with a "get-pip" script from its project's file host. One of these takes
# its place. The first puts uv behind the name of pip.
GET_UV = '''\
"""Put {uv} behind the name of pip in the running environment."""
import shutil
import sysconfig
from pathlib import Path

folder = Path(sysconfig.get_path("purelib"), "pip")
folder.mkdir(exist_ok=True)
(folder / "__init__.py").touch()
(folder / "uv").write_text({uv!r})
shutil.copy({script!r}, folder / "__main__.py")
'''

# Where there is no uv: this lends the environment a pip, which then installs the wanted release from the configured
# package index.
GET_PIP = '''\
"""Install pip into the running environment with the pip that lies in {folder}."""
import runpy
import sys

sys.path.insert(0, {folder!r})
words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
if not any(word.startswith("pip") for word in words):
    words.append("pip")
sys.argv[:] = ["pip", "install", "--upgrade", "--force-reinstall"] + words
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'''


def library(venv: Path, package: str) -> Path:
    found = next(iter(sorted(venv.glob(f"lib/python3*/site-packages/{package}"))), None)
    if found is None:
        raise SystemExit(f"{venv} has no {package}. Remove that folder and start again.")
    return found


def supply_get_pip(venv: Path) -> None:
    """Put our get-pip where this release of ansible-test looks for a downloaded one."""
    source = (library(venv, "ansible_test") / "_internal" / "python_requirements.py").read_text(encoding="utf-8")
    pip_versions = re.findall(r"""\bpip=["']([\d.]+)["']""", source)
    if not pip_versions:
        raise SystemExit(f"The ansible-test of {venv} names no pip version: run.py must learn its new form.")
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    uv = layout.find_uv()
    script = uv_script(uv) if uv else pip_script(venv)
    for version in pip_versions:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(script, encoding="utf-8")


def uv_script(uv: Path) -> str:
    """ansible-test has another HOME and few variables. uv has the user's: cache, index and certificates."""
    program = HOME / "uv"
    kept = {name: text for name, text in os.environ.items() if name == "HOME" or name.startswith(("UV_", "SSL_CERT_"))}
    settings = "".join(f"export {name}={shlex.quote(text)}\n" for name, text in kept.items())
    program.write_text(f'#!/bin/sh\n{settings}exec {shlex.quote(str(uv))} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return GET_UV.format(uv=str(program), script=str(layout.ROOT / "tests" / "sanity" / "uv_as_pip.py"))


def pip_script(venv: Path) -> str:
    lent = HOME / "pip"
    lent.mkdir(parents=True, exist_ok=True)
    if not (lent / "pip").exists():
        shutil.copytree(library(venv, "pip"), lent / "pip", ignore=shutil.ignore_patterns("__pycache__"))
    # A dozen environments are made, each with a pip that is used once: Python compiles what it imports.
    settings = HOME / ".config" / "pip" / "pip.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[install]\ncompile = no\n", encoding="utf-8")
    return GET_PIP.format(folder=str(lent))


def supply_dependency(venv: Path) -> None:
    """Put kubernetes.core beside our collection: ansible-doc follows the redirect in meta/runtime.yml."""
    part = Path("ansible_collections") / "kubernetes" / "core"
    homes = [home for place in (venv, layout.ROOT / ".venv-test") for home in place.glob(f"lib/python3*/*/{part}")]
    if not homes:
        raise SystemExit("kubernetes.core was not found in the environment: run `make sanity`.")
    shutil.rmtree(HOME / "tree" / part, ignore_errors=True)
    shutil.copytree(homes[0], HOME / "tree" / part, ignore=shutil.ignore_patterns("__pycache__"))


def newest_core() -> Path | None:
    """The environment with the newest ansible-core, or None when no Python is new enough for it."""
    for version in ("3.13", "3.12", "3.14"):
        python = layout.find_interpreter(version)
        if python is None:
            continue
        name = "build/venv-sanity-newest"
        script = layout.ROOT / "tests" / "checks" / "make_venv.sh"
        subprocess.run(
            ["sh", str(script), name, "requirements/sanity-newest.txt", version, version],
            cwd=layout.ROOT,
            env={**os.environ, "PYTHON": str(python)},
            check=True,
        )
        return layout.ROOT / name
    print("NOT RUN: sanity on ansible-core 2.21, because no Python 3.12 or newer was found.", flush=True)
    return None


def shipped_options(venv: Path) -> list[str]:
    """What is shipped, on the environment's own Python: ruff and mypy have read the tests."""
    probe = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = subprocess.run([str(venv / "bin" / "python"), "-c", probe], capture_output=True, text=True, check=True)
    return ["--exclude", "tests/", "--python", found.stdout.strip()]


def run(venv: Path, target: Path, *options: str) -> bool:
    supply_get_pip(venv)
    supply_dependency(venv)
    interpreters = [layout.find_interpreter(version) for version in VERSIONS]
    folders = [str(found.parent) for found in interpreters if found]
    env = layout.environment(venv, HOME=str(HOME))
    env["PATH"] = os.pathsep.join([str(venv / "bin"), *folders, *layout.plain_path()])
    for name in ("ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_HOME", "ANSIBLE_NOCOLOR", "VIRTUAL_ENV"):
        env.pop(name, None)
    if shutil.which("shellcheck", path=env["PATH"]) is None:
        print("NOT RUN: the sanity test shellcheck, because shellcheck is not installed.", flush=True)
    print(f"ansible-test sanity with {venv.relative_to(layout.ROOT)}", flush=True)
    command = [str(venv / "bin" / "ansible-test"), "sanity", "--venv", "--color", "no", *options]

    def passes(*more: str) -> bool:
        done = subprocess.run([*command, *more], cwd=target, env=env, stdin=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    if not passes("--prime-venvs"):
        return False
    make_quick()
    return passes()


def make_quick() -> None:
    """Let every interpreter of ansible-test's environments import quick_python when it starts."""
    quick = layout.ROOT / "tests" / "sanity" / "quick_python.py"
    for packages in HOME.glob(".ansible/test/venv/*/*/*/lib/python3*/site-packages"):
        shutil.copy(quick, packages)
        (packages / "quick.pth").write_text(f"import {quick.stem}\n", encoding="utf-8")


def main() -> int:
    target = layout.copy_tree(HOME / "tree")
    ignores = sorted(path.name for path in (target / "tests" / "sanity").glob("ignore*"))
    if ignores:
        print(f"This collection has no sanity ignores, and these files must go: {', '.join(ignores)}")
        return 1
    if sys.argv[1:] == ["--newest"]:
        newest = newest_core()
        venvs = [newest] if newest else []
    elif sys.argv[1:]:
        venvs = [layout.ROOT / name for name in sys.argv[1:]]
    else:
        venv = layout.ROOT / ".venv-test"
        return 0 if run(venv, target, *shipped_options(venv)) else 1
    results = [run(venv, target) for venv in venvs]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
