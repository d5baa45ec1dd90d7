# SPDX-License-Identifier: Apache-2.0
"""librados and librbd: Debian's packages, loaded when a store is configured and not before."""

import dataclasses
import importlib
from typing import Any

from storefs import exceptions

#: PyPI has neither; a virtual environment does not see Debian's.
MISSING = (
    "Python cannot import {module} ({error}). It is Ceph's and not on PyPI: apt-get install "
    "python3-rados python3-rbd, then ./bootstrap rbd in storefs' clone lets the virtual "
    "environment see it; elsewhere link rados*.so and rbd*.so of /usr/lib/python3/dist-packages "
    "into the site-packages of an environment of the same Python version"
)


@dataclasses.dataclass(frozen=True)
class Sdk:
    """The two modules."""

    rados: Any
    rbd: Any


def load(store_id: str) -> Sdk:
    """Import both; `BadStoreConfiguration` that says what to install. Connects nowhere."""
    return Sdk(_module("rados", store_id), _module("rbd", store_id))


def _module(name: str, store_id: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        reason = MISSING.format(module=name, error=exc)
        raise exceptions.BadStoreConfiguration(store_name=store_id, reason=reason) from exc
