"""Which jobs a worker may ask for."""

from __future__ import annotations

import pytest

from reconciler.core.jobs import decide_tags
from svckit.errors import PermissionDenied


@pytest.mark.parametrize(
    ("asked", "key", "expected"),
    [
        ({}, {}, {}),
        ({"gpu": "yes"}, {}, {"gpu": "yes"}),
        ({}, {"zone": "eu"}, {"zone": "eu"}),
        ({"zone": "eu"}, {"zone": "eu", "gpu": "no"}, {"zone": "eu", "gpu": "no"}),
    ],
)
def test_a_key_with_tags_is_for_these_alone(
    asked: dict[str, str], key: dict[str, str], expected: dict[str, str]
) -> None:
    assert decide_tags(asked, key) == expected


@pytest.mark.parametrize("asked", [{"gpu": "yes"}, {"zone": "us"}, {"zone": "eu", "gpu": "yes"}])
def test_a_tag_beyond_the_key_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(PermissionDenied, match=r'register\.tags: "(gpu|zone)" is beyond .*zone=eu'):
        decide_tags(asked, {"zone": "eu"})
