# SPDX-License-Identifier: Apache-2.0
"""The pages made from the options say what the options say."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "generate_docs.py"


def test_the_generated_pages_are_current() -> None:
    done = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
