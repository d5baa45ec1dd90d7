# SPDX-License-Identifier: Apache-2.0
"""What the contract suite needs to know of a driver: a `Harness`."""

import abc
import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from oslo_config import cfg

from storefs.drivers.base import Driver


class Harness(abc.ABC):
    """A configured driver over an empty store.

    *name* is its key in `harnesses.HARNESSES`, *driver_class* decides, before any server
    is started, which tests the driver gets. ``part`` is a length at which the suite
    tries the sizes around it: the writer's part where there is a writer, else
    whatever block the driver reads in.
    """

    name: ClassVar[str]
    driver_class: ClassVar[type[Driver[Any]]]
    driver: Any
    part: int = 64 * 1024
    #: can its writers give back what they were given?
    rereads: ClassVar[bool] = False
    #: what must not show in any repr, message or log
    secrets: tuple[str, ...] = ()

    @abc.abstractmethod
    def __init__(self, directory: pathlib.Path) -> None:
        """Start it, with *directory* to itself; `ServerFailed`."""

    @abc.abstractmethod
    def seed(self, image_id: str, data: bytes) -> None:
        """Put an image there as another program would."""

    @abc.abstractmethod
    def replace(self, image_id: str, data: bytes) -> None:
        """Put another version in its place, all of it at once.

        Where versions are told by whole seconds, move the mtime on as well: the
        suite replaces an image within the second, by one of the same size.
        """

    @abc.abstractmethod
    def remove(self, image_id: str) -> None:
        """Take the image away as another program would."""

    def leftovers(self) -> list[str]:
        """What unfinished uploads have left: temporaries, orphans; none is right."""
        return []

    def close(self) -> None:
        """Close the driver and stop what was started."""
        self.driver.close()


def options_of(driver_class: type[Driver[Any]], **values: Any) -> Any:
    """The driver's options as the store hands them over: typed, defaults resolved."""
    conf = cfg.ConfigOpts()
    conf.register_opts(driver_class.OPTIONS, group="store")
    conf([], default_config_files=[])
    for name, value in values.items():
        conf.set_override(name, value, group="store")
    return conf.store


def configured(driver_class: type[Driver[Any]], **values: Any) -> Any:
    """A driver of the store ``store``."""
    return driver_class(options_of(driver_class, **values), "store")


@contextlib.contextmanager
def making(driver_class: type[Driver[Any]], **defaults: Any) -> Iterator[Callable[..., Any]]:
    """Gives ``make(**options)``: drivers with *defaults* and those, all closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Any:
            driver = configured(driver_class, **{**defaults, **options})
            stack.callback(driver.close)
            return driver

        yield make
