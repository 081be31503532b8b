"""Print the core dependencies pinned to their lowest allowed versions."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in project["dependencies"]:
    match = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
    if match is None:
        raise SystemExit(f"no lowest version in {requirement!r}")
    print(f"{match[1]}=={match[2]}")
