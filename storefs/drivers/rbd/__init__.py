# SPDX-License-Identifier: Apache-2.0
"""Ceph's block images."""

from storefs.drivers.rbd.driver import RbdDriver

__all__ = ["RbdDriver"]
