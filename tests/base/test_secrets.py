"""What is left of addresses with passwords, whatever they stand in."""

import logging
import traceback

import pytest

from pipeline.base.errors import UserError
from pipeline.base.secrets import MaskingFormatter, masked, masked_command, masked_errors, masked_values


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("http://user:s3cret@127.0.0.1:5000", "http://user:***@127.0.0.1:5000"),
        ("postgresql+psycopg2://me:s3cret@db/runs?x=1", "postgresql+psycopg2://me:***@db/runs?x=1"),
        ("http://user:s3:cr@t@host/a@b", "http://user:***@host/a@b"),
        ("http://user:s3/cr?et#x@host", "http://user:***@host"),
        ("http://user:12345@host", "http://user:***@host"),
        ("redis://:s3cret@host", "redis://:***@host"),
        ("https://s3cret@host/path", "https://***@host/path"),
        ("https://user:%73%33cret@host", "https://user:***@host"),
        ("https://host/a?access_token=s3cret&page=2", "https://host/a?access_token=***&page=2"),
        ("https://b.s3/x?X-Amz-Credential=s3cret&X-Amz-Signature=s3cret#top", None),
        ("tracking.uri=http://user:s3cret@host: no (url: http://user:s3cret@host/api)", None),
        ("see 'http://user:s3cret@host', http://user:s3cret@host", None),
    ],
)
def test_a_password_is_masked(text: str, left: str | None) -> None:
    found = masked(text)
    assert "s3cret" not in found
    assert "%73" not in found
    assert left in (None, found)
    assert masked(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/path@version",
        "sqlite:////runs/a:b@c/mlflow.db",
        "s3://bucket/a@b/c?d",
        "models:/hgg@champion",
        "https://host:8080?page=2&author=me",
        "user:word@host",
        "a line: of words@once?token=x",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert masked(text) == text


def test_nested_values_commands_and_log_lines() -> None:
    uri = "http://u:s3cret@h"
    assert masked_values({"a": [uri, 1], "b": {"c": (uri,)}, "d": None}) == {
        "a": ["http://u:***@h", 1],
        "b": {"c": ["http://u:***@h"]},
        "d": None,
    }
    assert masked_command(["jobs/a.py", "run_root=a b", uri]) == "jobs/a.py 'run_root=a b' 'http://u:***@h'"
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "in %s", (uri,), None)
    assert MaskingFormatter().format(record) == "in http://u:***@h"


def test_errors_that_others_write_down_name_no_secret_nor_do_their_causes() -> None:
    def fail(text: str, cause: str, kind: type[Exception]) -> None:
        try:
            raise ValueError(cause)
        except ValueError as error:
            raise kind(text) from error

    address = "http://me:s3cret@host/"
    for text, cause, kind in ((address, "", OSError), ("plain", address, OSError), (address, "", UserError)):
        with pytest.raises(UserError if kind is UserError else RuntimeError) as caught, masked_errors():
            fail(text, cause, kind)
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(OSError, match="plain"), masked_errors():
        fail("plain", "as plain", OSError)
