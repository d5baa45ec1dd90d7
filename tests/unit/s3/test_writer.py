# SPDX-License-Identifier: Apache-2.0
"""Writing: how many requests, how they are cut, what is kept with the object."""

import hashlib
import io
import os
import pathlib
import threading
import time

import pytest

from storefs import exceptions
from storefs.drivers.s3 import S3Driver
from storefs.drivers.s3.parts import MAX_PART, MAX_PARTS, MAX_SIZE, Cut
from storefs.drivers.s3.uploads import upload_journal
from storefs.drivers.s3.writer import S3Writer
from storefs.upload import Upload
from tests.contract.images import add, parts_of, pattern, read, write
from tests.mount.tools import await_true
from tests.servers.fault_proxy import FaultProxy
from tests.servers.s3_client import Bucket
from tests.unit.child import in_the_middle, kill_in_the_middle
from tests.unit.s3.conftest import Make

MiB = 1024 * 1024


@pytest.mark.parametrize("chunk", [5, 10, 64, 550, 5120])
@pytest.mark.parametrize("size", [None, 0, MAX_SIZE // 100, MAX_SIZE])
def test_ten_thousand_parts_hold_5_tib(chunk: int, size: int | None) -> None:
    cut = Cut.of(chunk * MiB, size)
    offset = number = 0
    while offset < MAX_SIZE:
        number += 1
        assert cut.number(offset) == number
        length = cut.part_size(offset)
        assert 5 * MiB <= length <= MAX_PART
        offset += length
    assert number <= MAX_PARTS
    assert cut.part_size(0) >= chunk * MiB


def test_parts_are_small_as_long_as_images_are() -> None:
    cut = Cut.of(10 * MiB, None)
    lengths = {gib: cut.part_size(gib * 1024 * MiB) // MiB for gib in (0, 9, 10, 80, 88, 390, 410)}
    assert lengths == {0: 10, 9: 10, 10: 40, 80: 40, 88: 160, 390: 160, 410: 967}


def test_an_image_longer_than_5_tib_is_refused_at_once(driver: S3Driver) -> None:
    with pytest.raises(exceptions.ImageTooLarge):
        driver.create(driver.locate("image"), MAX_SIZE + 1)


def test_no_part_follows_the_ten_thousandth() -> None:
    cut = Cut.of(5 * MiB, 5 * MiB)
    with pytest.raises(exceptions.ImageTooLarge):
        cut.number(sum(count * length for count, length in cut.levels))


def _staged(driver: S3Driver, image_id: str, data: bytes) -> None:
    upload = Upload(driver.create(driver.locate(image_id), None))
    upload.feed(io.BytesIO(data))
    _, staged = upload.finish({"mtime_ns": "1600000000123456789"})
    assert staged


def test_a_short_image_is_one_put_with_its_hashes(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    assert list(driver.list()) == []
    proxy.requests.clear()
    _staged(driver, "image", pattern(1000))
    sent = [request for request in proxy.requests if request.method != "HEAD"]
    assert [(r.method, r.query, r.length) for r in sent] == [("PUT", "", 1000)]
    assert sent[0].headers["if-none-match"] == "*"
    assert bucket.tags("image").keys() == {
        "storefs.md5",
        "storefs.os_hash_algo",
        "storefs.os_hash_value",
        "storefs.mtime_ns",
    }
    assert driver.stat(driver.locate("image")).mtime_ns == 1600000000123456789


def test_a_long_image_is_each_part_once(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    data = pattern(23 * MiB)
    _staged(driver, "image", data)
    parts = proxy.asked("PUT", "partNumber")
    assert sorted(r.length for r in parts) == [3 * MiB, *[5 * MiB] * 4]
    assert all(r.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD" for r in parts)
    assert len(proxy.asked("POST", "uploads=")) == len(proxy.asked("POST", "uploadId=")) == 1
    assert bucket.get("image") == data
    assert "storefs.md5" in bucket.tags("image")
    assert driver.stat(driver.locate("image")).mtime_ns == 1600000000123456789


def test_pieces_are_sent_as_they_lie_and_again_if_need_be(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    data = pattern(12 * MiB)
    writer = driver.create(driver.locate("image"), None)
    proxy.fault(method="PUT", word="partNumber=2", reset=True)
    for part, offset in parts_of(writer, data):
        pieces = [part[start : start + MiB] for start in range(0, len(part), MiB)]
        writer.pwritev(pieces, offset)
    writer.commit(len(data))
    assert bucket.get("image") == data
    assert len(proxy.asked("PUT", "partNumber=2")) == 2


def test_who_writes_pieces_is_not_made_to_copy_the_first_part(
    driver: S3Driver, bucket: Bucket
) -> None:
    piece = bytearray(b"bytes")
    writer = driver.create(driver.locate("image"), None)
    writer.pwritev([memoryview(piece)], 0)
    piece[:] = b"other"  # nobody may do that: here it shows that there is no copy
    writer.commit(5)
    assert bucket.get("image") == b"other"


def test_a_new_image_is_looked_for_once(driver: S3Driver, proxy: FaultProxy) -> None:
    assert list(driver.list()) == []
    proxy.requests.clear()
    with pytest.raises(exceptions.NotFound):
        driver.stat(driver.locate("image"))
    _staged(driver, "image", pattern(1000))
    assert [r.method for r in proxy.requests] == ["HEAD", "PUT"]
    with pytest.raises(exceptions.Duplicate):
        driver.create(driver.locate("image"), None)


def test_a_server_without_conditions_is_asked_before_each_publication(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    proxy.refuse(501, "NotImplemented", method="PUT")
    add(driver, "image", b"bytes")
    writer = driver.create(driver.locate("again"), None)
    writer.pwrite(memoryview(b"ours"), 0)
    bucket.put("again", b"theirs")
    with pytest.raises(exceptions.Duplicate):
        writer.commit(4)
    assert bucket.get("again") == b"theirs"


@pytest.mark.parametrize("size", [1000, 11 * MiB])
def test_what_is_there_is_told_without_asking(
    driver: S3Driver, proxy: FaultProxy, size: int
) -> None:
    upload = Upload(driver.create(driver.locate("image"), None))
    upload.feed(io.BytesIO(pattern(size)))
    upload.finish()
    assert upload.published is not None
    assert upload.published.size == size
    assert proxy.requests[-1].method == "PUT"
    assert driver.stat(driver.locate("image")) == upload.published


def test_a_replacement_does_not_ask_for_absence(driver: S3Driver, proxy: FaultProxy) -> None:
    add(driver, "image", b"first")
    proxy.requests.clear()
    add(driver, "image", b"again", replace=True)
    assert "if-none-match" not in proxy.asked("PUT")[0].headers
    assert read(driver, "image") == b"again"


def test_a_server_without_conditions_is_asked_without(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    proxy.refuse(501, "NotImplemented", method="PUT")
    add(driver, "image", b"bytes")
    assert bucket.get("image") == b"bytes"
    add(driver, "again", b"bytes")
    assert "if-none-match" not in proxy.asked("PUT", "again")[0].headers


def test_an_abort_while_the_image_is_completed_does_not_end_its_upload(
    make: Make, proxy: FaultProxy, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(s3_store_host=proxy.url, s3_store_read_timeout=1.0)
    writer = driver.create(driver.locate("image"), None)
    assert isinstance(writer, S3Writer)
    complete = writer._complete

    def completed() -> str:
        etag = complete()
        writer.abort()
        return etag

    monkeypatch.setattr(writer, "_complete", completed)
    write(writer, pattern(6 * MiB))
    writer.commit(6 * MiB)
    writer.abort()
    assert proxy.asked("DELETE") == []
    assert bucket.get("image") == pattern(6 * MiB)


def test_a_late_part_does_not_end_the_upload_of_what_was_completed(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    writer = driver.create(driver.locate("image"), None)
    write(writer, pattern(6 * MiB))
    proxy.fault(method="PUT", word="partNumber=3", then=lambda: writer.commit(6 * MiB))
    with pytest.raises(exceptions.GlanceStoreException):
        writer.pwrite(memoryview(b"late"), 10 * MiB)
    writer.abort()
    assert proxy.asked("DELETE") == []
    assert bucket.get("image") == pattern(6 * MiB)


def test_no_more_parts_than_threads_are_under_way(
    make: Make, proxy: FaultProxy, bucket: Bucket
) -> None:
    running, most = [0], [0]
    lock = threading.Lock()
    driver = make(s3_store_host=proxy.url, s3_store_thread_pools=2)
    once = driver._client.once

    def counted(method: str, key: str = "", query: object = None, *args: object) -> object:
        with lock:
            running[0] += "partNumber" in str(query)
            most[0] = max(most)
            most[0] = max(most[0], running[0])
        try:
            return once(method, key, query, *args)  # type: ignore[arg-type]
        finally:
            with lock:
                running[0] -= "partNumber" in str(query)

    driver._client.once = counted  # type: ignore[method-assign,assignment]
    add(driver, "image", pattern(40 * MiB))
    assert most[0] == 2
    assert bucket.get("image") == pattern(40 * MiB)


def test_tags_of_others_stay(driver: S3Driver, bucket: Bucket) -> None:
    bucket.put("image", b"bytes")
    theirs = {"TagSet": [{"Key": "owner", "Value": "them"}]}
    bucket.client.put_object_tagging(Bucket=bucket.name, Key="image", Tagging=theirs)
    location = driver.locate("image")
    driver.set_properties(location, {"md5": "1"})
    driver.set_properties(location, {"md5": "2", "mtime_ns": "1000000000000000001"})
    assert bucket.tags("image") == {
        "owner": "them",
        "storefs.md5": "2",
        "storefs.mtime_ns": "1000000000000000001",
    }
    assert driver.properties(location) == {"md5": "2", "mtime_ns": "1000000000000000001"}
    assert driver.stat(location).mtime_ns == 1000000000000000001


def test_a_value_no_tag_can_hold_is_invalid(driver: S3Driver, bucket: Bucket) -> None:
    bucket.put("image", b"bytes")
    with pytest.raises(exceptions.Invalid, match="too long"):
        driver.set_properties(driver.locate("image"), {"md5": "x" * 257})


def test_an_mtime_no_one_can_read_is_the_server_s(driver: S3Driver, bucket: Bucket) -> None:
    bucket.put("image", b"bytes")
    tags = {"TagSet": [{"Key": "storefs.mtime_ns", "Value": "yesterday"}]}
    bucket.client.put_object_tagging(Bucket=bucket.name, Key="image", Tagging=tags)
    assert abs(driver.stat(driver.locate("image")).mtime_ns / 1e9 - time.time()) < 60


_UPLOAD = """
writer = driver.create(driver.locate({name!r}), None)
write(writer, bytes(2 * writer.part_size(0)))
ready()
"""


def test_what_a_killed_storefs_left_is_ended_and_nothing_else(bucket: Bucket, make: Make) -> None:
    options = {**bucket.options, "s3_store_large_object_chunk_size": 5}
    elsewhere = bucket.client.create_multipart_upload(Bucket=bucket.name, Key="elsewhere")
    with in_the_middle(S3Driver, options, _UPLOAD.format(name="alive")):
        kill_in_the_middle(S3Driver, options, _UPLOAD.format(name="dead"))
        assert sorted(bucket.uploads()) == ["alive", "dead", "elsewhere"]
        make()
        await_true(lambda: "dead" not in bucket.uploads(), "the end of the dead one's upload")
        assert sorted(bucket.uploads()) == ["alive", "elsewhere"]
    bucket.client.abort_multipart_upload(
        Bucket=bucket.name, Key="elsewhere", UploadId=elsewhere["UploadId"]
    )


def test_a_store_starts_while_the_server_is_down_and_cleans_up_later(
    bucket: Bucket, make: Make, tmp_path: pathlib.Path, proxy: FaultProxy
) -> None:
    options = {"s3_store_host": proxy.url, "s3_store_read_timeout": 1.0}
    driver = make(**options)
    writer = driver.create(driver.locate("image"), None)
    for part, offset in parts_of(writer, pattern(6 * MiB)):
        writer.pwrite(part, offset)
    driver.close()
    down = proxy.fault(reset=True, times=10_000)
    second = make(**options)
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        second.stat(second.locate("image"))
    assert bucket.uploads() == ["image"]
    down.times = 0
    await_true(lambda: second._journal.sweep() or not bucket.uploads(), "the upload's end")
    assert list((tmp_path / "state").iterdir()) == []


def test_a_state_directory_that_cannot_be_written_is_no_obstacle(
    bucket: Bucket, make: Make, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "state").write_text("a file")
    driver = make()
    add(driver, "image", pattern(6 * MiB))
    assert bucket.get("image") == pattern(6 * MiB)


def test_an_image_of_ours_is_everybody_s(driver: S3Driver, bucket: Bucket) -> None:
    add(driver, "image", pattern(11 * MiB))
    assert bucket.get("image") == pattern(11 * MiB)
    bucket.put("theirs", b"theirs")
    assert read(driver, "theirs") == b"theirs"
    assert {info.image_id for info in driver.list()} == {"image", "theirs"}


def test_an_upload_whose_name_was_never_learnt_is_ended(
    bucket: Bucket, make: Make, tmp_path: pathlib.Path
) -> None:
    """Ours has no parts, and the key that was noted; what has parts is another host's."""
    first = make()
    lost, others, elsewhere = (
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)["UploadId"]
        for key in ("image", "image", "image2")
    )
    bucket.client.upload_part(
        Bucket=bucket.name, Key="image", UploadId=others, PartNumber=1, Body=b"part"
    )
    child = os.fork()
    if child == 0:
        notes = upload_journal(tmp_path / "state", first._client)
        notes.begun("image 1", key="image", since=str(time.time()))
        os._exit(0)
    os.waitpid(child, 0)
    second = make()
    await_true(
        lambda: second._journal.sweep() or lost not in _upload_ids(bucket), "the lost one's end"
    )
    assert set(_upload_ids(bucket)) == {others, elsewhere}
    for key, upload in (("image", others), ("image2", elsewhere)):
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=key, UploadId=upload)


def _upload_ids(bucket: Bucket) -> list[str]:
    page = bucket.client.list_multipart_uploads(Bucket=bucket.name)
    return [upload["UploadId"] for upload in page.get("Uploads", [])]


def test_server_compares_what_arrived_with_its_md5(make: Make) -> None:
    """An image that was cut off on its way is then no image."""
    driver = make()
    writer = driver.create(driver.locate("image"), None)
    writer.pwrite(memoryview(b"half of it"), 0)
    whole = hashlib.md5(b"half of it and the rest", usedforsecurity=False).hexdigest()
    assert writer.stage({"md5": whole})
    with pytest.raises(exceptions.GlanceStoreException):
        writer.commit(10)
    writer.abort()
    with pytest.raises(exceptions.NotFound):
        driver.stat(driver.locate("image"))
