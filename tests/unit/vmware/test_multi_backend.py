# SPDX-License-Identifier: Apache-2.0
"""Glance's functions reach a vmware store, with the type's name as with its alias."""

import hashlib
import io

import pytest

import storefs
from storefs import exceptions
from tests.servers.vcsim import ImageDirectory
from tests.unit.conftest import Parse


@pytest.mark.parametrize("kind", ["vmware", "glance.store.vmware_datastore.Store"])
def test_an_image_goes_in_and_out(parse: Parse, images: ImageDirectory, kind: str) -> None:
    options = {k: v for k, v in images.options.items() if k != "vmware_datastores"}
    section = "\n".join(f"{name} = {value}" for name, value in options.items())
    conf = parse(
        f"[DEFAULT]\nenabled_backends = esx:{kind}\n[glance_store]\ndefault_backend = esx\n"
        "[esx]\nweight = 7\nvmware_datastores = DC0:LocalDS_0:1\n"
        f"vmware_datastores = DC0:LocalDS_1:5\n{section}\n"
    )
    storefs.register_store_opts(conf)
    assert storefs.create_multi_stores(conf) == 1
    assert storefs.get_store_weight("esx") == 7
    uri, size, checksum, multihash, metadata = storefs.add_with_multihash(
        conf, "ID", io.BytesIO(b"bytes"), 5, "esx", "sha256"
    )
    host = images.server.host
    assert uri == f"vsphere://{host}/folder/{images.name}/ID?dcPath=DC0&dsName=LocalDS_1"
    assert (size, checksum) == (5, hashlib.md5(b"bytes").hexdigest())
    assert multihash == hashlib.sha256(b"bytes").hexdigest()
    assert metadata == {"store": "esx"}
    glance_s = f"vsphere://127.0.0.1/folder/{images.name}/ID?dsName=LocalDS_1&dcPath=DC0"
    for backend in ("esx", None):
        chunks, length = storefs.get(glance_s, backend)
        assert (b"".join(chunks), length) == (b"bytes", 5)
    storefs.delete(uri, "esx")
    with pytest.raises(exceptions.NotFound):
        storefs.get(uri, "esx")
