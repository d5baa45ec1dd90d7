# SPDX-License-Identifier: Apache-2.0
"""What a store is before any image: its options, its driver and its state.

A store never fails the others: whatever goes wrong while it is configured
becomes its state, with a reason that says what to do.
"""

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from storefs import capabilities, driver_types, exceptions, store_options
from storefs.capabilities import BitMasks
from storefs.drivers import base
from storefs.location import StoreLocation

LOG = logging.getLogger(__name__)

#: What a read-only store does not support, whatever its driver can do.
_WRITES: tuple[type, ...] = (
    base.SupportsAdd,
    base.SupportsDelete,
    base.SupportsRename,
    base.SupportsCopy,
)


@dataclasses.dataclass(frozen=True, slots=True)
class StoreState:
    """*name* is ``ready``, ``read-only`` or ``broken``; *reason* is for people."""

    name: str
    reason: str = ""


class OpaqueLocation(StoreLocation):
    """A location of a store whose driver could not be loaded: kept as it is."""

    uri = ""

    def get_uri(self) -> str:
        return self.uri

    def parse_uri(self, uri: str) -> None:
        self.uri = uri

    def safe_uri(self) -> str:
        return f"{self.uri.partition(':')[0]}:..."


class ConfiguredStore(capabilities.StoreCapability):
    """A driver under a store's identifier.

    *backend* is the identifier and names the group of options; without one the
    group is [glance_store]. A subclass may set `driver_class` instead of
    passing it, or do without a driver: then it serves Glance's functions only.
    """

    driver_class: type[base.Driver[Any]] | None = None

    #: the options of a subclass that has no driver
    OPTIONS: ClassVar[Sequence[Any] | None] = None
    MULTI_BACKEND_OPTIONS: ClassVar[Sequence[Any] | None] = None

    #: what enabled_backends calls it
    store_type: str = ""
    #: for the service's own use, like the staging store; never shown
    reserved: bool = False
    #: where it stands among the configured stores
    position: int = 0

    def __init__(
        self,
        conf: Any,
        backend: str | None = None,
        driver_class: type[base.Driver[Any]] | None = None,
    ) -> None:
        super().__init__()
        self.conf = conf
        self.backend_group = backend
        self.driver_class = driver_class or self.driver_class
        self.options = store_options.StoreOptions({})
        self._driver: base.Driver[Any] | None = None
        self._state: StoreState | None = None
        self._supported: dict[Any, bool] = {}
        with contextlib.suppress(Exception):  # `configure` meets it again, and tells
            self._register()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.store_id}>"

    def __getattr__(self, name: str) -> Any:
        """What of the options Glance's discovery API reads as attributes of the store."""
        details = self.driver_class.DETAILS if self.driver_class else {}
        if name not in details:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        detail = details[name]
        if isinstance(detail, str):
            return getattr(self.options, detail)
        option, unit = detail
        return getattr(self.options, option) * unit

    @property
    def store_id(self) -> str:
        """The identifier, or the name of the single store's group."""
        return self.backend_group or store_options.SINGLE_STORE_GROUP

    def _option_list(self) -> list[Any]:
        own = self.driver_class.OPTIONS if self.driver_class else self.OPTIONS
        return [*(own or ()), *store_options.STORE_OPTIONS]

    def _register(self) -> None:
        store_options.register_store(self.conf, self._option_list(), self.backend_group)

    def configure(self, re_raise_bsc: bool = False) -> None:
        """Resolve the options and start the driver; what fails becomes the state.

        A `BadStoreConfiguration` of `configure_add` leaves the store readable.
        With *re_raise_bsc* either is raised as `BadStoreConfiguration` as well.
        """
        self._stop()
        self._state = None
        failed: exceptions.BadStoreConfiguration | None = None
        try:
            self._start()
            self._configure_add()
        except _AddDisabled as exc:
            failed = self._bad(exc.reason)
        except Exception as exc:  # noqa: BLE001 - one store never stops the others
            self.fail(self.options.scrub(explain(exc, self.store_type)))
            failed = self._bad(self.state.reason)
        with contextlib.suppress(Exception):
            self.update_capabilities()
        if re_raise_bsc and failed is not None:
            raise failed

    def _start(self) -> None:
        self.options, faults = store_options.resolve(self.conf, self._option_list(), self.store_id)
        if faults:
            raise exceptions.BadStoreConfiguration("; ".join(faults))
        if self.driver_class is not None:
            self._driver = self.driver_class(self.options, self.store_id)
        self._enter(self._writability())

    def _configure_add(self) -> None:
        try:
            self.configure_add()
        except exceptions.BadStoreConfiguration as exc:
            reason = explain(exc)
            LOG.warning("Store %s is read-only: %s", self.store_id, reason)
            self._enter(StoreState("read-only", reason))
            raise _AddDisabled(reason) from exc

    def configure_add(self) -> None:
        """For a subclass: what only adding needs; `BadStoreConfiguration` disables it."""

    def _writability(self) -> StoreState:
        if self.options.read_only:
            return StoreState("read-only", "read_only is set")
        if self._driver is None:
            return StoreState("ready")
        if reason := self._driver.writable:
            return StoreState("read-only", reason)
        if not isinstance(self._driver, base.SupportsAdd):
            return StoreState("read-only", "images cannot be added to a store of this type")
        return StoreState("ready")

    def _enter(self, state: StoreState) -> None:
        self._state = state
        self._supported.clear()
        if state.name == "broken":
            self._capabilities = int(BitMasks.NONE)
        elif self._driver is not None:
            self._capabilities = _mask(self.supports)
        else:
            self._capabilities = int(self._CAPABILITIES)
            if state.name == "read-only":
                self.unset_capabilities(BitMasks.WRITE_ACCESS)

    def fail(self, reason: str) -> None:
        """Mark the store broken: every operation raises with *reason* from now on."""
        self._stop()
        self._enter(StoreState("broken", reason))
        LOG.warning("Store %s is broken: %s", self.store_id, reason)

    def close(self) -> None:
        """Let go of the driver; no operation succeeds afterwards."""
        self._stop()
        if self._state is None or self._state.name != "broken":
            self._enter(StoreState("broken", "it was closed"))

    def _stop(self) -> None:
        driver, self._driver = self._driver, None
        try:
            if driver is not None:
                driver.close()
        except Exception as exc:  # noqa: BLE001 - it is of no use any more
            LOG.warning("Store %s could not be closed: %s", self.store_id, explain(exc))

    @property
    def state(self) -> StoreState:
        """The state, after `configure` if nobody called it yet."""
        if self._state is None:
            self.configure()
        if self._state is None:  # a subclass has its own way to configure
            self._enter(StoreState("ready"))
        assert self._state is not None
        return self._state

    @property
    def capabilities(self) -> int:
        """Glance's mask; it never promises more than the driver's types."""
        _ = self.state
        return self._capabilities

    @property
    def refusal(self) -> str | None:
        """Why adding and deleting are refused; None for a store that is ready."""
        reason = self.state.reason
        return f"Store {self.store_id} is not writable: {reason}" if reason else None

    def require_usable(self) -> None:
        """Raise `BadStoreConfiguration` with the reason if the store is broken."""
        if self.state.name == "broken":
            raise self._bad(self.state.reason)

    def _bad(self, reason: str) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(store_name=self.store_id, reason=reason)

    @property
    def driver(self) -> base.Driver[Any]:
        """The driver; raises `BadStoreConfiguration` with the reason if there is none."""
        self.require_usable()
        if self._driver is None:
            raise self._bad("its class has no driver, so it serves Glance's functions only")
        return self._driver

    def supports(self, protocol: Any) -> bool:
        """Whether the driver implements *protocol* and the state allows its use.

        Names for images that live elsewhere (`SupportsRegister`) do not change
        the backend: only ``read_only = true`` forbids them.
        """
        if protocol not in self._supported:
            self._supported[protocol] = self._allows(protocol)
        return self._supported[protocol]

    def _allows(self, protocol: Any) -> bool:
        if self.state.name == "broken" or not isinstance(self._driver, protocol):
            return False
        if protocol is base.SupportsRegister:
            return not self.options.read_only
        return self.state.name == "ready" or protocol not in _WRITES

    @property
    def store_conf(self) -> store_options.StoreOptions:
        """The resolved options, under the name Glance reads them by."""
        _ = self.state
        return self.options

    @property
    def weight(self) -> int:
        return int(getattr(self.store_conf, "weight", None) or 0)

    @property
    def description(self) -> str | None:
        text: str | None = getattr(self.store_conf, "store_description", None)
        return text

    @property
    def url_prefix(self) -> str | None:
        """What every location URI of this store begins with; None when broken."""
        if self.state.name == "broken" or self._driver is None:
            return None
        return self._driver.url_prefix

    def get_schemes(self) -> tuple[str, ...]:
        """The URI schemes, the usual one first."""
        if self.driver_class is not None:
            return tuple(self.driver_class.SCHEMES)
        return driver_types.usual_schemes(self.store_type) if self.store_type else ()

    def get_store_location_class(self) -> type[StoreLocation]:
        """How the store's URIs are parsed."""
        if self.driver_class is not None:
            return self.driver_class.LOCATION
        module = sys.modules[type(self).__module__]
        found: type[StoreLocation] = getattr(module, "StoreLocation", OpaqueLocation)
        return OpaqueLocation if found is StoreLocation else found


class _AddDisabled(Exception):
    """`configure_add` refused; the store goes on read-only."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _mask(supports: Callable[[Any], bool]) -> int:
    """Glance's mask for what *supports* says: never more than the types."""
    mask = BitMasks.READ_RANDOM | BitMasks.DRIVER_REUSABLE
    if supports(base.SupportsAdd) and supports(base.SupportsDelete):
        mask |= BitMasks.WRITE_ACCESS
    return int(mask)


def explain(exc: BaseException, store_type: str = "") -> str:
    """What went wrong and, for a missing dependency, what to install."""
    text = str(getattr(exc, "msg", None) or exc)
    if isinstance(exc, ImportError | exceptions.DriverLoadFailure):
        ours = str(getattr(exc, "name", None) or "").startswith("storefs")
        hint = f": install {driver_types.requirement(store_type)}" if store_type else ""
        return text if ours else f"{text.rstrip('.')}{hint}"
    if isinstance(exc, exceptions.BadStoreConfiguration):
        return text.partition("Reason: ")[2] or text
    if isinstance(exc, exceptions.GlanceStoreException):
        return text
    return f"{type(exc).__name__}: {exc}"
