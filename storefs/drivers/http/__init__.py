# SPDX-License-Identifier: Apache-2.0
"""Images on web servers, read-only."""

from storefs.drivers.http.driver import HttpDriver

__all__ = ["HttpDriver"]
