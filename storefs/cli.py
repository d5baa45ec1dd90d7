# SPDX-License-Identifier: Apache-2.0
"""The command: `storefs mount`, `storefs umount`, `storefs stores`.

Exit codes: 0 it worked; 1 it did not; 2 the command line is wrong; 3 it is unmounted,
but images could not be stored and wait in the spool. What a person
has to know goes to stderr as one ``storefs: ...`` line a fact.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import storefs
from storefs import cli_mount, cli_stores, cli_umount, configuration, mount_options, mountpoint

COMMANDS = ("mount", "umount", "stores")

_EPILOG = """\
Without --config-file, /etc/storefs/storefs.conf and ~/.config/storefs/storefs.conf
are read; without any, one `file` store in ~/.local/share/storefs/images is mounted.
`storefs FILE MOUNTPOINT [-o ...]` is what mount(8) calls for a line in /etc/fstab.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        command = self.prog.split()[0]
        self.exit(2, f"storefs: {message}; see `{command} --help`\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parsed = parser().parse_args(_as_command(arguments))
    try:
        return int(parsed.run(parsed))
    except mount_options.BadMountOption as exc:
        return _say(exc, 2)
    except (configuration.ConfigurationError, mountpoint.MountError) as exc:
        return _say(exc, 1)
    except KeyboardInterrupt:
        return 130


def _say(error: Exception, code: int) -> int:
    print(f"storefs: {error}", file=sys.stderr)
    return code


def _as_command(arguments: list[str]) -> list[str]:
    """mount(8) calls `storefs SPEC MOUNTPOINT -o ...`."""
    if not arguments or arguments[0].startswith("-") or arguments[0] in COMMANDS:
        return arguments
    return ["mount", *arguments] if len(arguments) > 1 else arguments


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = _Parser(
        prog="storefs",
        description="Mount image stores: each is a directory of one filesystem.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"storefs {storefs.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_mount(commands)
    _add_umount(commands)
    _add_stores(commands)
    return top


def _add_configuration(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config-file",
        metavar="FILE",
        action="append",
        default=[],
        help="read FILE; may be repeated, the later one counts",
    )
    command.add_argument(
        "--config-dir",
        metavar="DIR",
        action="append",
        default=[],
        help="read all *.conf files in DIR",
    )


def _add_mount(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = commands.add_parser("mount", help="mount the stores on a directory")
    _add_configuration(command)
    command.add_argument(
        "-o",
        dest="options",
        metavar="OPT[,OPT...]",
        action="append",
        default=[],
        help="mount options: ro, allow_other, uid=N, gid=N, umask=NNN, fsname=NAME, or any "
        "option of [storefs]",
    )
    command.add_argument(
        "--daemon", action="store_true", help="go into the background once mounted"
    )
    command.add_argument("--debug", action="store_true", help="log every step")
    command.add_argument("--log-file", metavar="FILE", help="log to FILE")
    command.add_argument(
        "mountpoint",
        metavar="[FILE] MOUNTPOINT",
        nargs="*",
        help="the directory to mount on; a configuration FILE before it means --config-file "
        "FILE --daemon",
    )
    command.set_defaults(run=cli_mount.run)


def _add_umount(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = commands.add_parser("umount", help="unmount and wait until all is written")
    command.add_argument("--lazy", action="store_true", help="detach now, end when nobody uses it")
    command.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="how long to wait for storefs to finish (default: 120)",
    )
    command.add_argument("mountpoint", metavar="MOUNTPOINT")
    command.set_defaults(run=cli_umount.run)


def _add_stores(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = commands.add_parser("stores", help="show the configured stores and their state")
    _add_configuration(command)
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=cli_stores.run)


if __name__ == "__main__":
    sys.exit(main())
