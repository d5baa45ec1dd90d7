# SPDX-License-Identifier: Apache-2.0
"""A configuration that cannot work says which option; what Keystone is asked comes from it."""

import types
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.cinder import CinderDriver
from storefs.drivers.cinder.account import Accounts
from tests.contract.harness import configured, options_of

ACCOUNT = {
    "cinder_store_auth_address": "http://127.0.0.1:1/v3",
    "cinder_store_user_name": "glance",
    "cinder_store_password": "secret-word",
    "cinder_store_project_name": "service",
}
CREDENTIAL = {
    "cinder_store_auth_address": "http://127.0.0.1:1/v3",
    "cinder_store_application_credential_id": "credential",
    "cinder_store_application_credential_secret": "secret-word",
}

CALLER = types.SimpleNamespace(
    project_id="demo",
    auth_token="token",
    service_catalog=[
        {
            "type": "volumev3",
            "name": "cinderv3",
            "endpoints": [
                {"region": "one", "publicURL": "http://one/v3/demo"},
                {"region": "two", "publicURL": "http://two/v3/demo"},
            ],
        }
    ],
)


def _accounts(**options: Any) -> Accounts:
    return Accounts(options_of(CinderDriver, **options), "store")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({**ACCOUNT, "cinder_store_password": None}, "cinder_store_password"),
        ({**ACCOUNT, "cinder_store_auth_address": None}, "cinder_store_auth_address"),
        ({"cinder_store_user_name": "glance"}, "cinder_store_auth_address"),
        (
            {**CREDENTIAL, "cinder_store_application_credential_secret": None},
            "cinder_store_application_credential_secret",
        ),
        ({"cinder_catalog_info": "volumev3"}, "cinder_catalog_info"),
        ({"cinder_catalog_info": "::publicURL"}, "cinder_catalog_info"),
        ({"cinder_ca_certificates_file": "/nowhere/ca.pem"}, "cinder_ca_certificates_file"),
        ({"cinder_endpoint_template": "http://host/%(user)s"}, "cinder_endpoint_template"),
    ],
)
def test_a_bad_configuration_names_the_option(options: dict[str, Any], named: str) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=named) as caught:
        _accounts(**options)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("options", [ACCOUNT, CREDENTIAL])
def test_an_account_of_its_own(options: dict[str, Any]) -> None:
    assert _accounts(**options).configured


def test_an_application_credential_wins_over_the_password() -> None:
    auth = _accounts(**{**ACCOUNT, **CREDENTIAL}).own().client.client.auth
    session = _accounts(**{**ACCOUNT, **CREDENTIAL}).own().client.client.session
    assert "ApplicationCredential" in type(auth or session.auth).__name__


def test_without_an_account_or_a_caller_every_call_says_what_to_set() -> None:
    driver = configured(CinderDriver)
    for call in (driver.stat, driver.open, driver.delete, driver.properties):
        with pytest.raises(exceptions.NotAuthenticated, match="cinder_store_user_name"):
            call(driver.locate("image"))
    driver.close()


@pytest.mark.parametrize(("region", "found"), [("one", "http://one"), ("two", "http://two")])
def test_a_caller_s_catalogue_is_asked_for_the_region(region: str, found: str) -> None:
    account = _accounts(cinder_os_region_name=region).of(CALLER)
    assert account.client.client.endpoint_override == f"{found}/v3/demo"
    assert account.project_id() == "demo"


def test_a_catalogue_in_the_form_of_keystone_3() -> None:
    catalog = [
        {
            "type": "volumev3",
            "name": "cinderv3",
            "endpoints": [
                {"interface": "public", "region_id": "one", "region": "one", "url": "http://p/v3"},
                {"interface": "internal", "region_id": "one", "region": "one", "url": "http://i"},
            ],
        }
    ]
    caller = types.SimpleNamespace(project_id="demo", auth_token="t", service_catalog=catalog)
    assert _accounts().of(caller).client.client.endpoint_override == "http://p/v3"


def test_a_template_comes_before_the_catalogue() -> None:
    options = {"cinder_endpoint_template": "http://host:8776/v3/%(tenant)s"}
    account = _accounts(**options).of(CALLER)
    assert account.client.client.endpoint_override == "http://host:8776/v3/demo"


def test_a_catalogue_without_cinder_says_what_to_check() -> None:
    caller = types.SimpleNamespace(project_id="demo", auth_token="t", service_catalog=[])
    with pytest.raises(exceptions.BadStoreConfiguration, match="cinder_catalog_info"):
        _accounts().of(caller)


@pytest.mark.parametrize("missing", ["auth_token", "project_id"])
def test_a_caller_without_a_token_is_not_authenticated(missing: str) -> None:
    caller = types.SimpleNamespace(**{**vars(CALLER), missing: None})
    with pytest.raises(exceptions.NotAuthenticated):
        configured(CinderDriver).for_context(caller)


def test_with_an_account_of_its_own_nobody_asks_who_calls() -> None:
    accounts = {**ACCOUNT, "cinder_api_timeout": 0.5, "cinder_http_retries": 0}
    driver = configured(CinderDriver, **accounts)
    assert driver.for_context(CALLER) is driver
    driver.close()
