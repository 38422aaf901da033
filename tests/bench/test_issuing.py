import json

import pytest
from bench.issuing import prepare, read_answer
from bench.wire import BadStream


def test_a_request_announces_the_length_of_its_body() -> None:
    head, _, body = prepare("h", 1, "sk_x", {"user_id": "u"}).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/tokens HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer sk_x\r\n" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {"user_id": "u"}


def test_an_answer_is_complete_only_with_its_last_byte() -> None:
    answer = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{"a":1}'
    assert all(read_answer(answer[:stop]) is None for stop in range(len(answer)))
    assert read_answer(answer) == (200, b'{"a":1}')


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}"],
    ids=["no length", "too long"],
)
def test_an_answer_that_cannot_be_counted_is_an_error(answer: bytes) -> None:
    with pytest.raises(BadStream):
        read_answer(answer)
