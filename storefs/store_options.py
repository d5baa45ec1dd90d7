# SPDX-License-Identifier: Apache-2.0
"""The options of one store, resolved once.

A value set in the store's own group counts first, then one in
[backend_defaults], then the documented default. Nothing is written back:
whoever reads a group through oslo.config sees what it always showed.
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from oslo_config import cfg

from storefs import config_files, exceptions

#: The group of a store that has no identifier of its own.
SINGLE_STORE_GROUP = "glance_store"

#: The group whose values hold for every store that does not set them.
DEFAULTS_GROUP = "backend_defaults"

#: What every store understands beside its driver's options.
STORE_OPTIONS = [
    cfg.StrOpt(
        "store_description",
        help="What people are told this store is for.",
    ),
    cfg.IntOpt(
        "weight",
        default=0,
        help="Stores with a higher weight are asked first for an image whose store is not named.",
    ),
    cfg.BoolOpt(
        "read_only",
        default=False,
        help="Refuse everything that would change the store, whatever its type allows.",
    ),
]


#: What stores have in common, registered in [glance_store].
GLANCE_STORE_OPTIONS = [
    cfg.StrOpt(
        "default_backend",
        help="The store that takes images whose store is not named.",
    ),
]


class StoreOptions:
    """A store's options as attributes; the repr shows no values."""

    def __init__(self, values: Mapping[str, Any], secrets: Iterable[str] = ()) -> None:
        self._values = dict(values)
        self._secrets = tuple(secrets)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._values:
            return self._values[name]
        raise AttributeError(f"the store has no option {name}")

    def __repr__(self) -> str:
        return f"<StoreOptions {' '.join(self._values)}>"

    def scrub(self, text: str) -> str:
        """*text* with the values of secret options blotted out."""
        for name in self._secrets:
            secret = self._values.get(name)
            if secret:
                text = text.replace(str(secret), "***")
        return text


def register(conf: Any, options: Iterable[cfg.Opt], group: str) -> None:
    """Register *options* in *group*; whoever registered one of them first wins."""
    for option in options:
        with contextlib.suppress(cfg.DuplicateOptError):
            conf.register_opt(option, group=group)


def register_store(conf: Any, options: Iterable[cfg.Opt], store_id: str | None) -> None:
    """Make *options* known in the store's group and in [backend_defaults]."""
    options = list(options)
    register(conf, options, store_id or SINGLE_STORE_GROUP)
    if store_id:
        register(conf, options, DEFAULTS_GROUP)


def resolve(conf: Any, options: Iterable[cfg.Opt], group: str) -> tuple[StoreOptions, list[str]]:
    """The values, and what is wrong with those that have none; all of it."""
    values, faults, secrets = {}, [], []
    groups = [group] if group == SINGLE_STORE_GROUP else [group, DEFAULTS_GROUP]
    for option in options:
        try:
            values[option.dest] = _value(conf, option, groups)
        except exceptions.BadStoreConfiguration as exc:
            faults.append(exc.msg)
        if option.secret:
            secrets.append(option.dest)
    return StoreOptions(values, secrets), faults


def _value(conf: Any, option: cfg.Opt, groups: Iterable[str]) -> Any:
    for group in groups:
        try:
            found = conf.get_location(option.dest, group)
            if found is not None and found.location is not cfg.Locations.opt_default:
                return conf[group][option.dest]
        except (cfg.Error, ValueError) as exc:
            raise exceptions.BadStoreConfiguration(_fault(conf, option, group, exc)) from exc
    return _default(option)


def _fault(conf: Any, option: cfg.Opt, group: str, exc: Exception) -> str:
    place = config_files.find_option(conf, group, {option.dest})
    where = f"{place[0]}:{place[1]}: " if place else ""
    detail = str(exc).rpartition("is not valid: ")[2]
    why = "its value is not valid" if option.secret else detail
    return f"{where}option {option.dest} in [{group}]: {why}"


def _default(option: cfg.Opt) -> Any:
    """The documented default in the option's own type."""
    if option.default is None:
        return None
    if option.multi:
        return [option.type(value) for value in option.default]
    return option.type(option.default)
