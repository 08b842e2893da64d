"""What templates print: visible and escaped without being asked, and how numbers are written."""

import pytest
from jinja2 import UndefinedError

from restem.review.rendering import clock, duration, environment


def rendered(template: str, **data: object) -> str:
    return environment().from_string(template).render(**data)


def test_what_is_printed_is_visible_and_escaped() -> None:
    name = "<b>\u202e\x1b\n&\"'"
    visible = "&lt;b&gt;\\u202e\\x1b\\n&amp;&#34;&#39;"
    assert rendered("{{ name }}", name=name) == visible
    assert rendered('{{ "a" ~ name }}', name=name) == "a" + visible
    macro = '{% from "macros.html" import name %}{{ name(value) }}'
    assert rendered(macro, value=name) == f"<bdi>{visible}</bdi>"
    assert rendered("{% set kept %}<i>{{ name }}</i>{% endset %}{{ kept }}", name=name) == f"<i>{visible}</i>"


def test_what_is_not_defined_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        rendered("{{ nothing }}")


def test_label_sets() -> None:
    template = '{% from "macros.html" import label_set %}{{ label_set(labels, marked, "ins") }}'
    assert rendered(template, labels=("drums", "bass"), marked={"bass"}) == "drums+<wbr><ins>bass</ins>"
    assert rendered(template, labels=(), marked=()) == "<i>nothing</i>"


@pytest.mark.parametrize(
    ("seconds", "long", "at"), [(8.4, "8 s", "0:08"), (185, "3 min", "3:05"), (3785, "1.1 h", "1:03:05")]
)
def test_times(seconds: float, long: str, at: str) -> None:
    assert (duration(seconds), clock(seconds)) == (long, at)
