# SPDX-License-Identifier: Apache-2.0
"""Where log records go: one line each, with time and level."""

import logging
import logging.handlers
import os
import sys
from pathlib import Path

SYSLOG = "/dev/log"

_LINE = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
_SYSLOG_LINE = "storefs[%(process)d]: %(levelname)s %(name)s: %(message)s"
_TIME = "%Y-%m-%d %H:%M:%S"


class OneLine(logging.Formatter):
    """Tracebacks and other line breaks become ``\\\\n``: a record is a line."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\\n")


def to_stderr(*, debug: bool) -> None:
    """Log to stderr: a process in the foreground."""
    _install(logging.StreamHandler(sys.stderr), _LINE, debug=debug)


def to_file(path: str, *, debug: bool) -> None:
    """Append to *path*; `OSError` if that cannot be."""
    _install(logging.FileHandler(path, encoding="utf-8"), _LINE, debug=debug)


def to_syslog(*, debug: bool) -> None:
    """Log to the host's syslog; `OSError` if nobody listens."""
    facility = logging.handlers.SysLogHandler.LOG_DAEMON
    handler = logging.handlers.SysLogHandler(address=SYSLOG, facility=facility)
    _install(handler, _SYSLOG_LINE, debug=debug)


def in_background(mountpoint: str, *, debug: bool) -> str:
    """Log where a process without a terminal does; returns that place, for people."""
    if os.path.exists(SYSLOG):
        to_syslog(debug=debug)
        return "syslog"
    path = state_file(mountpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    to_file(str(path), debug=debug)
    return str(path)


def state_file(mountpoint: str) -> Path:
    """The log of the mount on *mountpoint* where there is no syslog."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = mountpoint.strip("/").replace("/", "-") or "root"
    return Path(state) / "storefs" / f"{name}.log"


def _install(handler: logging.Handler, line: str, *, debug: bool) -> None:
    handler.setFormatter(OneLine(line, _TIME))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    # their debug records repeat every request and every option's value
    for library in ("botocore", "pyfuse3", "oslo_config", "urllib3", "stevedore"):
        logging.getLogger(library).setLevel(logging.INFO)
