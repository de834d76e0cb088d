"""`python -m migrations`: brings the database of SIXTEEN_DATABASE_URL to the newest schema."""

from __future__ import annotations

import os
import sys

from migrations.upgrade import MigrationRefused, upgrade


def main() -> int:
    url = os.environ.get("SIXTEEN_DATABASE_URL")
    if not url:
        sys.stderr.write("SIXTEEN_DATABASE_URL is not set: say which database to migrate.\n")
        return 2
    try:
        upgrade(url)
    except MigrationRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
