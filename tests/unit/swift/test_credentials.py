# SPDX-License-Identifier: Apache-2.0
"""Options and files of references: what they mean, and what is said of wrong ones."""

import pathlib
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift.credentials import References
from tests.contract.harness import configured, options_of

INLINE = {
    "swift_store_auth_address": "127.0.0.1:5000/v3/",
    "swift_store_user": "service:glance",
    "swift_store_key": "secret-word",
}

FILE = """\
[ref1]
auth_address = http://127.0.0.1:5000
user = "service:glance"
key = 'secret % word'
user_domain_name = people

[ref2]
auth_address = http://127.0.0.1:5000/v3
application_credential_id = 1234
application_credential_secret = secret-word

[old]
auth_version = 1
auth_address = https://swift.example.com/auth/v1.0/
user = test:tester
key = testing
"""


def _references(**values: Any) -> References:
    return References(options_of(SwiftDriver, **values), "store")


def _file(tmp_path: pathlib.Path, text: str) -> dict[str, str]:
    path = tmp_path / "references.conf"
    path.write_text(text)
    return {"swift_store_config_file": str(path)}


def test_one_account_of_the_options() -> None:
    found = _references(**INLINE).own
    assert found is not None
    assert found.auth_url == "https://127.0.0.1:5000/v3"
    assert (found.project, found.user_name, found.key) == ("service", "glance", "secret-word")
    assert (found.user_domain_id, found.project_domain_id) == ("default", "default")
    assert "secret-word" not in repr(found)


def test_every_section_of_the_file(tmp_path: pathlib.Path) -> None:
    references = _references(**_file(tmp_path, FILE))
    found = references.own
    assert found is not None
    assert found.auth_url == "http://127.0.0.1:5000/v3"
    assert (found.user, found.key) == ("service:glance", "secret % word")
    assert (found.user_domain_id, found.user_domain_name) == (None, "people")
    assert references.of("ref2").application_credential_id == "1234"
    assert references.of("old").version == "1"
    assert references.of("old").auth_url == "https://swift.example.com/auth/v1.0"
    with pytest.raises(exceptions.BadStoreUri, match=r"add \[ref3\] to swift_store_config_file"):
        references.of("ref3")


def test_another_reference_is_the_default(tmp_path: pathlib.Path) -> None:
    references = _references(default_swift_reference="ref2", **_file(tmp_path, FILE))
    assert references.own is references.of("ref2")


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({}, "swift_store_auth_address, swift_store_user and swift_store_key"),
        ({**INLINE, "swift_store_user": None}, "swift_store_user is not set"),
        ({**INLINE, "swift_store_key": None}, "swift_store_key is not set"),
        ({**INLINE, "swift_store_auth_address": None}, "swift_store_auth_address is not set"),
        ({**INLINE, "swift_store_auth_address": "ftp://x"}, "swift_store_auth_address: it is"),
        ({**INLINE, "swift_store_auth_address": "http://u:secret-word@x"}, "auth_address: cred"),
        ({**INLINE, "swift_store_user": "glance"}, "swift_store_user is written project:user"),
        ({**INLINE, "swift_store_container": "a/b"}, "swift_store_container"),
        ({**INLINE, "swift_store_cacert": "/nowhere"}, "swift_store_cacert"),
        ({"swift_store_config_file": "/nowhere/refs"}, "swift_store_config_file: /nowhere/refs"),
        (
            {**INLINE, "swift_store_application_credential_id": "1"},
            "swift_store_application_credential_secret is not set",
        ),
        (
            {
                "swift_store_auth_address": "http://x",
                "swift_store_auth_version": "2",
                "swift_store_application_credential_id": "1",
                "swift_store_application_credential_secret": "secret-word",
            },
            "application credentials are for auth_version 3",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(values: dict[str, Any], option: str) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=option) as caught:
        configured(SwiftDriver, **values)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no section"),
        ("secret-word", "is no file of sections"),
        ("[ref2]\nauth_address = http://x\nuser = a:b\nkey = c\n", "is ref1, and .* has ref2"),
        ("[ref1]\nauth_address = http://x\nuser = a:b\n", r"key of \[ref1\] in .* is not set"),
        ("[ref1]\nauth_address = http://x\nuser = a:b\nkey = 'secret-word\n", "has one quote"),
        ("[ref1]\nauth_version = 4\n", r"auth_version of \[ref1\] in .* is none of"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_without_its_secrets(
    tmp_path: pathlib.Path, text: str, reason: str
) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=reason) as caught:
        configured(SwiftDriver, **_file(tmp_path, text))
    assert "secret-word" not in str(caught.value)


def test_a_file_and_many_tenants_exclude_each_other(tmp_path: pathlib.Path) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match="exclude each other"):
        configured(SwiftDriver, swift_store_multi_tenant=True, **_file(tmp_path, FILE))


def test_no_repr_tells_a_secret() -> None:
    driver = configured(SwiftDriver, **INLINE)
    assert "secret-word" not in f"{driver!r} {driver.options!r} {vars(driver)!r}"
    driver.close()
