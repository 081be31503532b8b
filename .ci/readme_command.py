"""Print the one command line of a section of the README: ``readme_command.py "Test it"``."""

import re
import sys
from pathlib import Path

heading = sys.argv[1]
text = Path("README.md").read_text(encoding="utf-8")
section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
if section is None:
    sys.exit(f"README.md has no section '## {heading}'")
blocks = re.findall(r"^```\w*\n(.*?)^```", section[1], re.M | re.S)
lines = [line for line in "".join(blocks).splitlines() if line.strip()]
if len(lines) != 1:
    sys.exit(f"README.md, '## {heading}': {len(lines)} command lines instead of one")
print(lines[0])
