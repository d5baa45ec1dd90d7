# SPDX-License-Identifier: Apache-2.0
"""`storefs stores`: what is configured, and what has become of it."""

import argparse
import json
import logging
import sys
from collections.abc import Iterable
from typing import Any

from oslo_config import cfg

from storefs import capabilities, configuration, multi_backend
from storefs.driver import Store

_HEADER = ("STORE", "TYPE", "STATE", "DEFAULT", "WEIGHT", "CAPABILITIES", "REASON")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each store; 1 if one of them is broken."""
    logging.getLogger().addHandler(logging.NullHandler())  # the table says it
    conf = configuration.load(arguments.config_file, arguments.config_dir)
    multi_backend.create_multi_stores(conf, configuration.reserved(conf))
    stores = multi_backend.stores()
    rows = [row(conf, name, store) for name, store in stores.items() if not store.reserved]
    for line in configuration.complaints(conf):
        print(f"storefs: {line}", file=sys.stderr)
    print(json.dumps(rows, indent=2) if arguments.json else table(rows))
    multi_backend.close_stores(conf)
    return int(any(item["state"] == "broken" for item in rows))


def row(conf: cfg.ConfigOpts, name: str, store: Store) -> dict[str, Any]:
    """What there is to know of a store."""
    return {
        "store": name,
        "type": conf.enabled_backends[name],
        "state": store.state.name,
        "reason": store.state.reason,
        "default": name == configuration.default_store(conf),
        "weight": store.weight,
        "capabilities": capabilities.describe(store.capabilities),
    }


def table(rows: Iterable[dict[str, Any]]) -> str:
    """*rows* in columns, the longest text last."""
    lines = [_HEADER, *(_cells(item) for item in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


def _cells(item: dict[str, Any]) -> tuple[str, ...]:
    default = "yes" if item["default"] else ""
    reason = " ".join((item["reason"] or "").split())
    plain = (item["store"], item["type"], item["state"], default, str(item["weight"]))
    return (*plain, item["capabilities"], reason)
