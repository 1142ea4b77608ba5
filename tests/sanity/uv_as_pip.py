"""Stands for pip in the environments that ansible-test makes: uv fills them, in a tenth of the time.

It is installed as pip/__main__.py, beside a file `uv` with the path of the program.
"""

import os
import shutil
import sys
from pathlib import Path

_action, *_words = sys.argv[1:]
if _action == "uninstall":  # ansible-test leaves an environment without pip
    shutil.rmtree(Path(__file__).parent)
elif _action == "install":
    _uv = Path(__file__).with_name("uv").read_text()
    _words = [word for word in _words if word != "--disable-pip-version-check"]
    os.execv(_uv, [_uv, "pip", "install", "--python", sys.executable, *_words])
else:
    sys.exit(f"pip {_action} was not foreseen in {__file__}")
