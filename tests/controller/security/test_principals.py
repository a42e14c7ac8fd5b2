"""What roles give, to whom, for which applications."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_controller.security.methods import METHODS
from repave_controller.security.principals import (
    ANONYMOUS,
    LOCAL,
    PERMISSIONS,
    Grant,
    Kind,
    Permission,
    Principal,
    Role,
    agent,
)
from repave_protos.protocol import fleet_pb2

GRANTS = st.builds(Grant, st.sampled_from(Role), st.sampled_from(("*", "web-*", "hello", "shop")))
APPLICATIONS = st.sampled_from((None, "hello", "web-front", "shop", "else"))


def a_token(*grants: Grant, scopes: tuple[Grant, ...] = ()) -> Principal:
    return Principal(Kind.TOKEN, "anna", grants=grants, scopes=scopes)


@pytest.mark.parametrize("permission", sorted(set(Permission) - {Permission.OPEN}))
def test_who_is_not_recognised_may_do_nothing(permission: Permission) -> None:
    assert not ANONYMOUS.may(permission)
    assert not ANONYMOUS.may(permission, "hello")
    assert not ANONYMOUS.may_somewhere(permission)


@pytest.mark.parametrize("permission", sorted(set(Permission) - {Permission.AGENT}))
def test_without_accounts_all_is_allowed_but_to_speak_for_a_region(permission: Permission) -> None:
    assert LOCAL.may(permission)
    assert not LOCAL.may(Permission.AGENT)


def test_an_agent_speaks_for_its_region_and_fetches_packages_only() -> None:
    allowed = {each for each in Permission if agent("oslo").may(each)}
    assert allowed == {Permission.OPEN, Permission.KNOWN, Permission.AGENT, Permission.FETCH}
    assert not Principal(Kind.AGENT, "agent/", "").may(Permission.AGENT)


def test_an_approver_releases_nothing_and_a_deployer_approves_nothing() -> None:
    assert not PERMISSIONS[Role.APPROVER] & {Permission.RELEASE, Permission.STEER, Permission.PUSH}
    assert not PERMISSIONS[Role.DEPLOYER] & {Permission.APPROVE, Permission.OVERRIDE}


def test_an_autoscaler_scales_and_does_nothing_else() -> None:
    scaler = a_token(Grant(Role.SCALER, "web-*"))
    allowed = {each for each in Permission if scaler.may(each, "web-front")}
    assert allowed == {Permission.OPEN, Permission.KNOWN, Permission.SCALE}
    assert not scaler.may(Permission.SCALE, "hello")
    assert Permission.SCALE in PERMISSIONS[Role.DEPLOYER]


def test_a_role_for_some_applications_gives_nothing_for_the_installation() -> None:
    anna = a_token(Grant(Role.ADMIN, "web-*"))
    assert anna.may(Permission.REMOVE, "web-front")
    assert not anna.may(Permission.REMOVE, "hello")
    assert not anna.may(Permission.ACCOUNTS)


@given(
    st.lists(GRANTS, max_size=3),
    st.lists(GRANTS, min_size=1, max_size=3),
    st.sampled_from(Permission),
    APPLICATIONS,
)
def test_scopes_never_give_what_the_grants_don_t(
    grants: list[Grant], scopes: list[Grant], permission: Permission, application: str | None
) -> None:
    narrow, wide = a_token(*grants, scopes=tuple(scopes)), a_token(*grants)
    assert wide.may(permission, application) or not narrow.may(permission, application)


@given(st.lists(GRANTS, max_size=3), GRANTS, st.sampled_from(Permission), APPLICATIONS)
def test_another_grant_takes_nothing_away(
    grants: list[Grant], more: Grant, permission: Permission, application: str | None
) -> None:
    assert a_token(*grants, more).may(permission, application) or not a_token(*grants).may(
        permission, application
    )


def test_an_approval_s_role_is_a_role_or_a_team() -> None:
    anna = Principal(Kind.TOKEN, "anna", grants=(Grant(Role.APPROVER, "web-*"),), teams=("sre",))
    assert anna.roles_for("web-front") == ("approver", "sre")
    assert anna.roles_for("hello") == ("sre",)


def test_every_method_of_the_protocol_says_who_may_call_it() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for service in fleet_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods == set(METHODS)
    assert Permission.OPEN not in {METHODS[each] for each in methods if each.endswith("/Connect")}
