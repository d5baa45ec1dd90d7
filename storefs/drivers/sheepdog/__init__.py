# SPDX-License-Identifier: Apache-2.0
"""VDIs of Sheepdog, by its own protocol."""

from storefs.drivers.sheepdog.driver import SheepdogDriver

__all__ = ["SheepdogDriver"]
