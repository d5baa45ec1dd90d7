# SPDX-License-Identifier: Apache-2.0
"""Datastores of vSphere."""

from storefs.drivers.vmware.driver import VmwareDriver

__all__ = ["VmwareDriver"]
