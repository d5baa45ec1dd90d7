# SPDX-License-Identifier: Apache-2.0

import pathlib
import subprocess
import sys

import storefs


def test_the_version_can_be_asked_for_without_any_dependency() -> None:
    root = pathlib.Path(storefs.__file__).parent.parent
    code = f"import sys; sys.path.append({str(root)!r}); import storefs; print(storefs.__version__)"
    asked = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == storefs.__version__


def test_importing_the_functions_loads_no_driver() -> None:
    code = (
        "import sys, storefs; storefs.create_multi_stores; "
        "print(*[name for name in sys.modules if name.startswith('storefs.drivers.')])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == ["storefs.drivers.base"]
