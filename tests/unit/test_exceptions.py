# SPDX-License-Identifier: Apache-2.0

import inspect

import pytest

import storefs
from storefs import exceptions

ALL = [
    kind
    for _, kind in inspect.getmembers(exceptions, inspect.isclass)
    if kind.__module__ == exceptions.__name__
]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (exceptions.NotFound(image="x"), "Image x not found"),
        (exceptions.NotFound("gone"), "gone"),
        (exceptions.NotFound("%(image)s is gone", image="x"), "x is gone"),
        (exceptions.Forbidden(), "You are not authorized to complete this action."),
        (exceptions.StoreAddDisabled(None), exceptions.StoreAddDisabled.message),
        (exceptions.NotFound("100%", image="x"), "100% {'image': 'x'}"),
        (
            exceptions.BadStoreConfiguration(store_name="s", reason="r"),
            "Store s could not be configured correctly. Reason: r",
        ),
    ],
)
def test_message(error: exceptions.GlanceStoreException, text: str) -> None:
    assert error.msg == str(error) == text


def test_families_callers_catch() -> None:
    assert issubclass(exceptions.DriverLoadFailure, exceptions.BadStoreConfiguration)
    assert issubclass(exceptions.StoreRandomGetNotSupported, exceptions.StoreGetNotSupported)
    assert issubclass(exceptions.ImageTooLarge, exceptions.StorageFull)
    assert issubclass(exceptions.UnsupportedBackend, exceptions.BackendException)
    assert not issubclass(exceptions.BackendException, exceptions.GlanceStoreException)
    assert not issubclass(exceptions.TimeoutError, OSError)


def test_redirect_keeps_the_parsed_url() -> None:
    assert exceptions.RedirectException("https://h/p").url.hostname == "h"


@pytest.mark.parametrize("kind", ALL)
def test_the_package_exports_it(kind: type[Exception]) -> None:
    assert getattr(storefs, kind.__name__) is kind


def test_nothing_else_is_an_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'get_from_backend'"):
        _ = storefs.get_from_backend


@pytest.mark.parametrize("name", storefs.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(storefs, name) is not None
    assert name in dir(storefs)
