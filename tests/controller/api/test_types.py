"""A value of another type than the one described is refused by name, wherever it is sent."""

from typing import Any

import pytest
from pydantic import BaseModel

from repave_controller.api.app import Api
from tests.controller.api.conftest import SPEC

WRONG: dict[str, list[object]] = {
    "string": [1, True, 1.5, None, [], {}],
    "integer": [True, "3", 1.5, None, [], {}],
    "number": [True, "3", None, [], {}],
    "boolean": [0, 1, "true", None, [], {}],
    "array": ["paris", 1, True, None, {}],
    "object": ["paris", 1, True, None, []],
}


def bodies() -> list[type[BaseModel]]:
    routes = Api(None, None, None, None, None).routes()  # type: ignore[arg-type]  # the table alone
    return sorted({each.body for each in routes if each.body is not None}, key=lambda body: body.__name__)


def paths(body: type[BaseModel]) -> list[str]:
    routes = Api(None, None, None, None, None).routes()  # type: ignore[arg-type]  # the table alone
    values = {"application": "hello", "region": "paris", "machine": "m1", "host": "h1", "freeze": "f1"}
    values |= {
        "token": "0" * 12,
        "team": "sre",
        "trust": "t1",
        "person": "oidc:anna",
        "target": "audit",
        "hook": "ci",
        "delivery": "b-1",
    }
    return [each.path.format(**values) for each in routes if each.body is body]


def wrong_values() -> list[Any]:
    """(body, field, value) for every field of a plain type of every body."""
    found = []
    for body in bodies():
        for field, schema in body.model_json_schema()["properties"].items():
            for value in WRONG.get(schema.get("type", ""), []):
                found.append(pytest.param(body, field, value, id=f"{body.__name__}-{field}-{value!r}"))
    return found


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    return wrong_values()


def test_every_field_refuses_every_other_type(api: Any, cases: list[Any]) -> None:
    api.release()
    assert len(cases) > 150
    for case in cases:
        body, field, value = case.values
        for path in paths(body)[:1]:
            answer = api.post(path, {field: value})
            named = {each["field"].split(".")[0] for each in answer.json["problems"]}
            assert (answer.status, field in named) == (400, True), (case.id, answer.content)


@pytest.mark.parametrize("size", [True, "3", 3.5, None, [3]])
def test_sizes_are_whole_numbers(api: Any, size: object) -> None:
    api.release()
    api.ended()
    answer = api.post("applications/hello/sizes", {"sizes": {"paris": size}})
    assert answer.status == 400
    assert answer.json["problems"][0]["field"] == "sizes.paris"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("hosts?log_lines=-1", "log_lines"),
        ("hosts?log_lines=1_0", "log_lines"),
        ("hosts?log_lines=%201", "log_lines"),
        ("hosts?loglines=5", "loglines"),
        ("events?newest=yes", "newest"),
        ("events?newest", "newest"),
        ("events?limit=1&limit=2", "limit"),
        ("events?after=9999999999999999999", "after"),
        ("events/stream?after=-1", "after"),
        ("applications?limit=-3", "limit"),
        ("applications?cursor=x", "cursor"),
        ("groups?cursor=WzFd", "cursor"),
        ("freezes?limit=3", "limit"),
        ("applications/hello?verbose=1", "verbose"),
        ("orphans?regions=paris", "regions"),
        ("pool?machine=m1", "machine"),
        ("doctor?x=1", "x"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(api: Any, path: str, field: str) -> None:
    api.release()
    answer = api.get(path)
    assert answer.status == 400, answer.content
    assert field in answer.json["detail"]


@pytest.mark.parametrize("hidden", ["\x1b[2K", "\n", "\u202e", "\u200b", "\x9b"], ids=ascii)
def test_names_and_versions_show_themselves(api: Any, hidden: str) -> None:
    digest = api.push()
    for field in ("version", "by", "filename"):
        answer = api.post(
            "applications/hello/releases", {"spec": SPEC, "digest": digest, field: f"a{hidden}b"}
        )
        assert (answer.status, [each["field"] for each in answer.json["problems"]]) == (400, [field])
