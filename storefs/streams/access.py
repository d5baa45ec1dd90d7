# SPDX-License-Identifier: Apache-2.0
"""Which store a request is about, and whether it may change anything there."""

from collections.abc import Mapping

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import SupportsAdd, SupportsRegister
from storefs.streams.engine import Settings
from storefs.tree import Directory


class Access:
    """The stores of one mount and what its settings allow."""

    def __init__(self, stores: Mapping[str, Store], settings: Settings) -> None:
        self._stores = stores
        self._settings = settings

    def store_of(self, directory: Directory) -> Store:
        """The directory's store; the root stands for the default one."""
        store_id = directory.store_id or self._settings.default_store
        if store_id is None or store_id not in self._stores:
            raise exceptions.StoreAddDisabled(
                "Nothing can be created here: set default_backend in [glance_store], "
                "or write into a store's directory."
            )
        return self._stores[store_id]

    def addable(self, store: Store) -> Store:
        """*store*, if images can be written to it; else `StoreAddDisabled`."""
        return self._checked(store, SupportsAdd)

    def changeable(self, store: Store) -> Store:
        """*store*, if its names can be changed: images or registered ones."""
        return self._checked(store, SupportsAdd, SupportsRegister)

    def _checked(self, store: Store, *protocols: type) -> Store:
        if self._settings.read_only:
            raise exceptions.StoreAddDisabled("The filesystem is mounted read-only.")
        _ = store.driver  # a broken store says why
        if not any(store.supports(protocol) for protocol in protocols):
            reason = store.state.reason or "its driver only reads"
            raise exceptions.StoreAddDisabled(
                f"Store {store.backend_group} is read-only: {reason}."
            )
        return store
