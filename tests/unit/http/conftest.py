# SPDX-License-Identifier: Apache-2.0
"""A driver over Debian's nginx, and a ranged reader over a server that can fail."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from storefs.drivers import http_answer
from storefs.drivers.http import HttpDriver
from storefs.drivers.http_pool import HttpSettings
from storefs.drivers.http_transport import Origin, Transport
from storefs.drivers.ranged_http import RangedHttp
from tests.contract.harness import options_of
from tests.servers.faulty_http import FaultyHttp
from tests.servers.nginx import Nginx
from tests.unit.http.images import DATA, HASTY, MTIME, Make, Open, put


@pytest.fixture(scope="module")
def shared_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx"))
    nginx.start()
    yield nginx
    nginx.stop()


@pytest.fixture
def nginx(shared_nginx: Nginx) -> Nginx:
    """With one image, ``image``, and nothing asked yet."""
    put(shared_nginx, DATA, MTIME)
    shared_nginx.start()
    shared_nginx.forget_requests()
    return shared_nginx


@pytest.fixture
def make(tmp_path: pathlib.Path) -> Iterator[Make]:
    """``make(option=value)``: a driver, closed at the end."""
    with contextlib.ExitStack() as stack:

        def made(**values: Any) -> HttpDriver:
            values.setdefault("http_store_catalog", str(tmp_path / "catalog"))
            driver = HttpDriver(options_of(HttpDriver, **values), "web")
            return stack.enter_context(contextlib.closing(driver))

        yield made


@pytest.fixture
def server() -> Iterator[FaultyHttp]:
    with contextlib.closing(FaultyHttp(DATA)) as server:
        yield server


@pytest.fixture
def transport() -> Iterator[Transport]:
    with contextlib.closing(Transport(HttpSettings())) as transport:
        yield transport


@pytest.fixture
def hasty() -> Iterator[Transport]:
    with contextlib.closing(Transport(HttpSettings(read_timeout=HASTY))) as transport:
        yield transport


@pytest.fixture
def open_image(server: FaultyHttp, transport: Transport) -> Iterator[Open]:
    """``open_image()``: a reader of the server's image; requests are counted from then on."""
    with contextlib.ExitStack() as stack:

        def opened(origin: Origin | None = None, over: Transport = transport) -> RangedHttp:
            reader = RangedHttp.open(over, origin or Origin(server.url), "image")
            stack.enter_context(contextlib.closing(reader))
            server.asked.clear()
            return reader

        yield opened


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, not waited for."""
    waits: list[float] = []
    monkeypatch.setattr(http_answer.time, "sleep", waits.append)
    return waits
