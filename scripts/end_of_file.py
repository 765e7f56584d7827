"""Repairs files that do not end with exactly one newline; exits 1 where it changed one."""

import sys
from pathlib import Path

changed = False
for file in map(Path, sys.argv[1:]):
    content = file.read_bytes()
    wanted = content.rstrip(b"\r\n") + b"\n" if content.strip() else b""
    if content != wanted:
        file.write_bytes(wanted)
        changed = True
sys.exit(changed)
