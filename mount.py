#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mount.py ...` is `storefs mount ...`; the first run installs what is missing.

Only the standard library is needed to get here.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
PYTHON = os.path.join(HERE, ".venv", "bin", "python")
AGAIN = "STOREFS_BOOTSTRAPPED"


def bootstrap() -> None:
    """Install, and start over with the Python that has everything; does not return."""
    done = subprocess.run([os.path.join(HERE, "bootstrap")], check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
    os.environ[AGAIN] = "1"
    os.execv(PYTHON, [PYTHON, os.path.realpath(__file__), *sys.argv[1:]])


if __name__ == "__main__":
    try:
        import pyfuse3  # noqa: F401 - compiled, so the most likely to be missing

        from storefs import cli
    except ImportError:
        if AGAIN in os.environ:
            raise
        bootstrap()
    os.environ.pop(AGAIN, None)
    sys.exit(cli.main(["mount", *sys.argv[1:]]))
