# SPDX-License-Identifier: Apache-2.0
"""Glance itself over storefs: what its users do, through its API, and what that leaves behind."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mount.mounting import Mount, mounted
from tests.mount.requirements import need_fuse, needed, needed_context
from tests.mount.tools import MiB, attribute, await_true, data, md5, run, sha512
from tests.servers import faulty_http
from tests.servers.faulty_http import FaultyHttp
from tests.servers.glance import SIZE_CAP, Glance
from tests.servers.glance_client import Client
from tests.servers.process import running
from tests.servers.s3_client import Bucket
from tests.servers.s3_servers import gateway_bucket

#: Of two parts in S3, and of several pieces of every reader and writer.
BYTES = data(9 * MiB + 5)

STORES = {"fast": "file", "cheap": "file", "bucket": "s3", "web": "http"}

#: Those that take images, and where Glance keeps them on their way.
FILES = ("fast", "cheap", "os_glance_staging_store", "os_glance_tasks_store")


class Site:
    """A Glance, and what is in its stores behind its back."""

    def __init__(self, glance: Glance, bucket: Bucket) -> None:
        self.glance = glance
        self.bucket = bucket
        self.client = Client(glance.url)

    def kept(self) -> dict[str, dict[str, str]]:
        """Store -> image -> md5, stores that are empty left out; uploads count as well."""
        found = {name: _files(self.glance.datadir(name)) for name in FILES}
        found["bucket"] = {key: md5(self.bucket.get(key)) for key in sorted(self.bucket.keys())}
        found["uploads to the bucket"] = dict.fromkeys(self.bucket.uploads(), "")
        return {name: images for name, images in found.items() if images}


def _files(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): md5(path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    bucket = needed("s3-versitygw", gateway_bucket)
    section = {**bucket.options, "s3_store_large_object_size": 5}
    section |= {"s3_store_large_object_chunk_size": 5, "store_description": "far away"}
    sections = {"bucket": section, "cheap": {"weight": 7}}
    directory = tmp_path_factory.mktemp("glance") / "glance"
    starting = running(lambda here: Glance(here, STORES, sections), directory)
    with needed_context("glance", starting) as glance:
        yield Site(glance, bucket)
    bucket.remove()


@pytest.fixture
def site(_site: Site) -> Iterator[Site]:
    """With nothing in it; and deleting every image of it leaves nothing in any store."""
    yield _site
    for image_id in _site.client.images():
        assert _site.client.ask("DELETE", f"/v2/images/{image_id}").status == 204
    assert _site.kept() == {}


@pytest.fixture
def client(site: Site) -> Client:
    return site.client


@pytest.fixture
def web() -> Iterator[FaultyHttp]:
    server = FaultyHttp(BYTES)
    yield server
    server.close()


def _described(image: dict[str, Any]) -> dict[str, Any]:
    """What Glance knows of the bytes."""
    names = ("status", "size", "checksum", "os_hash_algo", "os_hash_value")
    return {name: image[name] for name in names}


ACTIVE = {
    "status": "active",
    "size": len(BYTES),
    "checksum": md5(BYTES),
    "os_hash_algo": "sha512",
    "os_hash_value": hashlib.sha512(BYTES).hexdigest(),
}


@pytest.mark.parametrize("store", [None, "cheap", "bucket"])
def test_an_image_goes_where_it_is_sent_and_comes_back(site: Site, store: str | None) -> None:
    image_id = site.client.new(BYTES, store)
    image = site.client.image(image_id)
    assert _described(image) == ACTIVE
    assert [where["metadata"] for where in image["locations"]] == [{"store": store or "fast"}]
    assert site.kept() == {store or "fast": {image_id: md5(BYTES)}}
    answer = site.client.download(image_id)
    assert (answer.status, answer.body == BYTES) == (200, True)
    assert answer.headers["Content-MD5"] == md5(BYTES)


@pytest.mark.parametrize("store", ["fast", "bucket"])
def test_a_part_of_an_image(client: Client, store: str) -> None:
    image_id = client.new(BYTES, store)
    last = len(BYTES) - 1
    for first, end in ((0, 0), (100, 1099), (5 * MiB - 7, 5 * MiB + 7), (last - 9, last)):
        answer = client.download(image_id, f"{first}-{end}")
        assert (answer.status, answer.body == BYTES[first : end + 1]) == (206, True)
        assert answer.headers["Content-Range"] == f"bytes {first}-{end}/{len(BYTES)}"


def test_an_image_without_bytes(site: Site) -> None:
    image_id = site.client.new(b"", "cheap")
    assert site.client.image(image_id)["size"] == 0
    assert site.kept() == {"cheap": {image_id: md5(b"")}}


def test_staged_data_is_imported_into_every_store(site: Site) -> None:
    image_id = site.client.create()
    assert site.client.stage(image_id, BYTES).status == 204
    assert site.kept() == {"os_glance_staging_store": {image_id: md5(BYTES)}}
    image = site.client.bring_in(image_id, {"name": "glance-direct"}, all_stores=True)
    assert _described(image) == ACTIVE
    assert sorted(image["stores"].split(",")) == ["bucket", "cheap", "fast"]
    assert site.kept() == {store: {image_id: md5(BYTES)} for store in ("fast", "cheap", "bucket")}


def test_an_image_is_fetched_from_a_web_server(site: Site, web: FaultyHttp) -> None:
    image_id = site.client.create()
    method = {"name": "web-download", "uri": web.url}
    image = site.client.bring_in(image_id, method, stores=["bucket"])
    assert _described(image) == ACTIVE
    assert site.kept() == {"bucket": {image_id: md5(BYTES)}}


def test_an_image_is_copied_and_the_first_one_deleted(site: Site) -> None:
    image_id = site.client.new(BYTES, "fast")
    site.client.bring_in(image_id, {"name": "copy-image"}, stores=["bucket", "cheap"])
    assert site.kept() == {store: {image_id: md5(BYTES)} for store in ("fast", "cheap", "bucket")}
    for store in ("fast", "bucket"):
        assert site.client.ask("DELETE", f"/v2/stores/{store}/{image_id}").status == 204
    assert site.client.image(image_id)["stores"] == "cheap"
    assert site.kept() == {"cheap": {image_id: md5(BYTES)}}
    assert site.client.download(image_id).body == BYTES


def test_staged_data_is_deleted_with_its_image(site: Site) -> None:
    image_id = site.client.create()
    assert site.client.stage(image_id, BYTES).status == 204
    assert site.client.ask("DELETE", f"/v2/images/{image_id}").status == 204
    assert site.kept() == {}


# -- locations -----------------------------------------------------------------


def _location(site: Site, name: str) -> str:
    """The URL of *name* in the bucket, which Glance has not put there."""
    site.bucket.put(name, BYTES)
    image_id = site.client.new(b"for its location", "bucket")
    url: str = site.client.image(image_id)["locations"][0]["url"]
    return url.replace(image_id, name)


@pytest.mark.parametrize("store", ["bucket", None])
def test_a_location_is_added_by_patch(site: Site, store: str | None) -> None:
    image_id = site.client.create()
    url = _location(site, "by-hand")
    answer = site.client.add_location(image_id, url, store)
    assert (answer.status, answer.json["status"]) == (200, "active")
    assert answer.json["size"] == len(BYTES)
    assert site.client.image(image_id)["stores"] == "bucket"
    assert site.client.download(image_id).body == BYTES


def test_a_location_is_added_by_its_own_api_and_hashed(site: Site) -> None:
    image_id = site.client.create()
    wanted = {"url": _location(site, "by-hand")}
    assert site.client.ask("POST", f"/v2/images/{image_id}/locations", wanted).status == 202
    image = site.client.settled(image_id)
    assert _described(image) == ACTIVE
    assert image["stores"] == "bucket"
    assert site.client.download(image_id).body == BYTES


def test_a_location_on_a_web_server(client: Client, web: FaultyHttp) -> None:
    image_id = client.create()
    answer = client.add_location(image_id, web.url, "web")
    assert (answer.status, answer.json["size"]) == (200, len(BYTES))
    assert client.download(image_id).body == BYTES
    assert client.download(image_id, "7-99").body == BYTES[7:100]


def test_a_web_server_that_does_not_tell_the_size(client: Client, web: FaultyHttp) -> None:
    web.ranges, web.always = False, faulty_http.chunked(MiB)
    assert client.add_location(client.create(), web.url, "web").status == 400


@pytest.mark.parametrize(
    "url", ["foo://x", "file:///etc/passwd", "s3://127.0.0.1/bucket", "http://127.0.0.1:1/image"]
)
def test_a_location_that_cannot_be(client: Client, url: str) -> None:
    assert client.add_location(client.create(), url).status == 400


def test_a_location_where_nothing_is(site: Site) -> None:
    url = _location(site, "by-hand")
    site.bucket.delete("by-hand")
    assert site.client.add_location(site.client.create(), url, "bucket").status == 400


# -- refusals ------------------------------------------------------------------


def test_a_store_nobody_knows_and_one_that_takes_nothing(client: Client) -> None:
    image_id = client.create()
    assert client.upload(image_id, b"bytes", "nope").status == 400
    assert client.upload(image_id, b"bytes", "web").status == 410
    assert client.image(image_id)["status"] == "queued"


@pytest.mark.parametrize("store", ["fast", "bucket"])
def test_an_image_that_is_too_large_leaves_nothing(site: Site, store: str) -> None:
    image_id = site.client.create()
    assert site.client.upload(image_id, bytes(SIZE_CAP + 1), store).status == 413
    assert site.client.image(image_id)["status"] == "queued"
    assert site.kept() == {}
    assert site.client.upload(image_id, BYTES, store).status == 204
    assert site.client.download(image_id).body == BYTES


def test_staged_data_that_is_too_large_leaves_nothing(site: Site) -> None:
    image_id = site.client.create()
    assert site.client.stage(image_id, bytes(SIZE_CAP + 1)).status == 413
    assert site.kept() == {}


@pytest.mark.parametrize(
    ("what", "store"), [("file", "fast"), ("file", "bucket"), ("stage", "fast")]
)
def test_an_upload_that_is_cut_off_leaves_nothing(site: Site, what: str, store: str) -> None:
    image_id = site.client.create()
    assert site.client.cut_off(f"/v2/images/{image_id}/{what}", BYTES, store) == 500
    assert site.client.image(image_id)["status"] == "queued"
    assert site.kept() == {}


def test_a_web_server_that_breaks_off_leaves_nothing(site: Site, web: FaultyHttp) -> None:
    web.always = faulty_http.cut(5 * MiB)
    image_id = site.client.create()
    method = {"name": "web-download", "uri": web.url}
    image = site.client.bring_in(image_id, method, stores=["fast"])
    assert (image["status"], image["os_glance_failed_import"]) == ("queued", "fast")
    assert site.kept() == {}


# -- what administrators see ---------------------------------------------------


def test_the_stores_are_described(client: Client) -> None:
    stores = {
        store["id"]: store for store in client.ask("GET", "/v2/info/stores/detail").json["stores"]
    }
    assert {name: store["type"] for name, store in stores.items()} == STORES
    assert stores["fast"]["default"] == stores["web"]["read-only"] == "true"
    assert {name: store["weight"] for name, store in stores.items() if store["weight"]} == {
        "cheap": 7
    }
    assert stores["bucket"]["description"] == "far away"
    assert stores["bucket"]["properties"] == {
        "s3_store_large_object_size": 5 * MiB,
        "s3_store_large_object_chunk_size": 5 * MiB,
        "s3_store_thread_pools": 10,
    }


def test_the_scrubber_deletes_later(tmp_path: Path) -> None:
    sections = {"DEFAULT": {"delayed_delete": "true"}}
    starting = running(lambda here: Glance(here, {"fast": "file"}, sections), tmp_path / "glance")
    with needed_context("glance", starting) as glance:
        client = Client(glance.url)
        image_id = client.new(b"bytes")
        assert client.ask("DELETE", f"/v2/images/{image_id}").status == 204
        assert _files(glance.datadir("fast")) == {image_id: md5(b"bytes")}
        glance.run("scrubber")
        assert _files(glance.datadir("fast")) == {}


# -- the mount beside it -------------------------------------------------------


@contextlib.contextmanager
def _mounted(site: Site, directory: Path) -> Iterator[Mount]:
    """The mount of Glance's own configuration."""
    need_fuse()
    directory.mkdir()
    environment = {"STATE_DIRECTORY": str(directory / "state")}
    mount = Mount(directory, STORES, environment=environment)
    mount.config = site.glance.configuration
    mount.datadirs = {name: site.glance.datadir(name) for name in ("fast", "cheap")}
    mount.spool = site.glance.datadir("os_glance_staging_store") / ".storefs-spool"
    with mounted(mount):
        yield mount


def test_glance_and_a_mount_share_their_stores(site: Site, tmp_path: Path) -> None:
    images = {store: site.client.new(BYTES, store) for store in ("fast", "cheap", "bucket")}
    written = tmp_path / "image"
    written.write_bytes(data(6 * MiB + 1, seed=1))
    with _mounted(site, tmp_path / "mount") as mount:
        assert sorted(os.listdir(mount.path)) == sorted(STORES)
        for store, image_id in images.items():
            path = mount / store / image_id
            assert sha512(path) == ACTIVE["os_hash_value"]
            assert attribute(path, "os_hash_value") == ACTIVE["os_hash_value"]
            url = site.client.image(image_id)["locations"][0]["url"]
            assert attribute(path, "location") == url
        run("cp", written, mount / "bucket" / "written")
        url = attribute(mount / "bucket" / "written", "location")
        patched, posted = site.client.create(), site.client.create()
        assert site.client.add_location(patched, url, "bucket").status == 200
        added = site.client.ask("POST", f"/v2/images/{posted}/locations", {"url": url})
        assert added.status == 202
        assert site.client.settled(posted)["os_hash_value"] == sha512(written)
        for image_id in (patched, posted):
            assert site.client.download(image_id).body == written.read_bytes()
        assert site.client.ask("DELETE", f"/v2/images/{images['fast']}").status == 204
        await_true(lambda: os.listdir(mount / "fast") == [], "the deletion to be seen")
    # two images at one location: whichever is deleted first takes it along
    assert site.client.ask("DELETE", f"/v2/images/{patched}").status == 204
