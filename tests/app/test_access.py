"""Access: nothing is served without the token, to other sites, or under other host names."""

import hmac
import re

import pytest
from starlette.websockets import WebSocketDisconnect
from stgcma.app.access import Access, is_loopback
from stgcma.app.examples import Example
from stgcma.errors import InputError

TOKEN = "t" * 20


@pytest.fixture
def guarded(client_of, tmp_path):
    video = tmp_path / "bell.mp4"
    video.write_bytes(b"example")
    return client_of(examples=[Example(video)], access=Access(token=TOKEN))


def requests_of(client):
    """Every method and path of the application."""
    for route in client.app.routes:
        for method in sorted(route.methods):
            yield method, re.sub(r"\{[^}]*\}", "0", route.path)


def test_no_request_is_served_without_the_token(guarded):
    requests = [*requests_of(guarded), ("GET", "/nothing"), ("GET", "/static/../access.py")]
    assert len(requests) > 12
    for method, path in requests:
        for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"cookie": "stgcma-7860=é".encode()}):
            answer = guarded.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path, headers)
            assert "stgcma serve" in answer.text or method == "HEAD"
    assert guarded.get("/api/jobs/x", params={"token": TOKEN}).status_code == 401  # for the page only


def test_a_websocket_is_refused(guarded):
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/"):
        pass


@pytest.mark.parametrize("token", ["", "x" * 15, "x" * 16 + "&", "x" * 16 + "é", "x" * 16 + "\n"])
def test_a_token_is_long_and_the_same_everywhere(token):
    with pytest.raises(InputError, match="token has"):
        Access(token=token)


def test_a_bearer_has_access(guarded):
    assert guarded.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_first_address_sets_a_cookie_and_is_left(guarded):
    assert guarded.get("/", params={"token": "wrong"}).status_code == 401
    first = guarded.get("/", params={"token": TOKEN})
    assert (first.status_code, first.headers["location"]) == (303, "./")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "stgcma-7860=" in first.headers["set-cookie"]
    for path in ("/", "/static/app.js", "/static/app.css", "/examples/0"):
        assert guarded.get(path).status_code == 200
    assert guarded.get("/examples/1").status_code == 404


def test_tokens_are_compared_in_constant_time(guarded, monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: compared.append(pair) or real(*pair))
    guarded.get("/", headers={"authorization": "Bearer guess"})
    assert (b"guess", TOKEN.encode()) in compared


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:7860", "[::1", "[x]"]
)
def test_another_host_name_is_refused_on_loopback(client_of, host):
    client = client_of(access=Access(loopback_only=True))
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860"])
def test_names_of_this_machine_are_served(client_of, host):
    client = client_of(access=Access(loopback_only=True))
    assert client.get("/", headers={"host": host}).status_code == 200


def test_other_sites_cannot_submit_or_delete(client_of):
    client = client_of()
    for method, path in (("POST", "/api/jobs?run=0"), ("DELETE", "/api/jobs/x")):
        for origin in ("http://evil.example", "http://127.0.0.1:80", "null", "http://["):
            answer = client.request(method, path, headers={"origin": origin}, content=b"video")
            assert answer.status_code == 403
    same = client.post("/api/jobs?run=0", headers={"origin": "http://127.0.0.1:7860"}, content=b"video")
    assert same.status_code == 201


def test_every_answer_restricts_what_the_page_may_load(guarded):
    guarded.get("/", params={"token": TOKEN})
    for path in ("/", "/static/app.js", "/examples/0", "/api/jobs/x", "/nothing"):
        headers = guarded.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "http" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"


def test_a_frame_is_allowed_where_it_is_asked_for(client_of):
    policy = (
        client_of(access=Access(frame_ancestors=("https://huggingface.co",)))
        .get("/")
        .headers["content-security-policy"]
    )
    assert policy.endswith("frame-ancestors https://huggingface.co")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_addresses_of_this_machine_alone_are_recognised(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2", "example.org", ""])
def test_other_addresses_are_recognised(host):
    assert not is_loopback(host)
