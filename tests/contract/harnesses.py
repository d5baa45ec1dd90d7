# SPDX-License-Identifier: Apache-2.0
"""One harness a driver: the driver, configured, and a way to its images behind its back.

To put a driver under the suite, write a subclass of `Harness` and add one line
to `HARNESSES` at the end. Its factory gets an empty directory of its own, and
raises `Unavailable` where the server cannot be had; everything else the suite
finds out from the driver's types.
"""

import abc
import os
import pathlib
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from storefs.drivers.base import Driver
from storefs.drivers.memory import MemoryDriver


class Unavailable(Exception):
    """The harness cannot run here; the text says what is missing."""


class Harness(abc.ABC):
    """A configured driver over an empty store.

    *name* is the key in `HARNESSES`. ``part`` is a length at which the suite
    tries the sizes around it: the writer's part where there is a writer, else
    whatever block the driver reads in.
    """

    name: str
    driver: Driver[Any]
    part: int = 64 * 1024

    @abc.abstractmethod
    def seed(self, image_id: str, data: bytes) -> None:
        """Put an image there as another program would."""

    @abc.abstractmethod
    def replace(self, image_id: str, data: bytes) -> None:
        """Put another version in its place, all of it at once."""

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


def configured(driver_class: type[Driver[Any]], **values: Any) -> Driver[Any]:
    """A driver of the store ``store``."""
    return driver_class(options_of(driver_class, **values), "store")


class MemoryHarness(Harness):
    """There is no other program in memory: the driver's own inner steps stand in for it."""

    name = "memory"

    def __init__(self, directory: pathlib.Path) -> None:
        self.driver: MemoryDriver = configured(MemoryDriver, memory_store_part_size=self.part)

    def seed(self, image_id: str, data: bytes) -> None:
        self.driver.reserve(len(data))
        self.driver.publish(image_id, memoryview(data), {}, replace=False)

    def replace(self, image_id: str, data: bytes) -> None:
        self.driver.reserve(len(data))
        self.driver.publish(image_id, memoryview(data), {}, replace=True)

    def remove(self, image_id: str) -> None:
        self.driver.delete(self.driver.locate(image_id))

    def leftovers(self) -> list[str]:
        capacity = self.driver.capacity()
        published = sum(info.size or 0 for info in self.driver.list())
        unaccounted = capacity.total - capacity.free - published
        return [f"{unaccounted} bytes"] if unaccounted else []


#: REGISTRY: one line a driver, name -> factory(empty directory). The name is
#: what STOREFS_REQUIRE lists to turn "server missing, skipped" into a failure.
HARNESSES: dict[str, Callable[[pathlib.Path], Harness]] = {
    "memory": MemoryHarness,
}


def required(name: str) -> bool:
    """Does STOREFS_REQUIRE (names with commas between, or ``all``) insist on *name*?"""
    names = os.environ.get("STOREFS_REQUIRE", "").split(",")
    return name in names or "all" in names
