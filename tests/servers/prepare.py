# SPDX-License-Identifier: Apache-2.0
"""Build the servers that no package holds, so that no test waits for it: run before the tests.

python -m tests.servers.prepare
"""

import sys

from tests.servers import go_tools, versitygw
from tests.servers.process import ServerFailed


def main() -> None:
    directory = go_tools.cache() / f"versitygw-{versitygw.VERSION}"
    if not (directory / "versitygw").exists():
        print(f"storefs: building versitygw in {directory} (once; some minutes)", file=sys.stderr)
    try:
        go_tools.go_tool(versitygw.PACKAGE, versitygw.VERSION)
    except ServerFailed as exc:
        print(f"storefs: {exc}\nstorefs: tests that need it are skipped", file=sys.stderr)


if __name__ == "__main__":
    main()
