"""HTTP around the service: what is served, and what is refused before it gets anywhere."""

import http.client
import json
import os
import socket
import struct
import tempfile
import threading
import time

import numpy as np
import pytest

from anil_tf.deploy.demo import images
from anil_tf.deploy.demo import server as demo_server
from anil_tf.deploy.demo.server import MAX_UPLOAD, DemoServer
from tests.deploy.demo.fake_model import FakeModel

JSON = {"Content-Type": "application/json"}
FILE = {"Content-Type": "application/octet-stream"}


def ask(server, method, path, body=None, headers=None):
    """Returns (status, headers, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def raw(server, text):
    """What is answered to bytes that need not be HTTP, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def png(side=40):
    return images.to_png(np.random.default_rng(0).integers(0, 255, (side, side, 1), dtype=np.uint8))


# The beginning of an upload, as bytes.
HEAD = b"POST /api/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
BROKEN_OFF = HEAD + b"Content-Length: 100\r\n\r\nabc"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/?from=a-link", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/api/model", "application/json"),
    ],
)
def test_the_page_and_its_files_are_served_under_a_strict_policy(server, path, content_type):
    status, headers, body = ask(server, "GET", path)
    assert (status, headers["Content-Type"]) == (200, content_type) and body
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    status, headers, nothing = ask(server, "HEAD", path)
    assert (status, headers["Content-Length"], nothing) == (200, str(len(body)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/missing",
        "/../service.py",
        "/%2e%2e/service.py",
        "//etc/passwd",
        "/page/app.js",
        "/api/adapt",
    ],
)
def test_nothing_else_is(server, path):
    assert ask(server, "GET", path)[0] == 404


def test_the_page_names_no_other_host(server):
    for path, (_, content) in server.files.items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "url(" not in text, path
        assert " style=" not in text and "onclick" not in text, f"{path}: against the policy"


def test_adapting_and_asking(server):
    prepared = [
        json.loads(ask(server, "POST", "/api/image", images.to_png(pixels), FILE)[2])["image"]
        for pixels in (np.zeros((28, 28, 1), np.uint8), np.eye(28, dtype=np.uint8)[..., None] * 255)
    ]
    body = json.dumps({"images": prepared, "labels": [0, 1]})
    status, _, answer = ask(server, "POST", "/api/adapt", body, JSON)
    assert status == 200
    question = json.dumps({"state": json.loads(answer)["state"], "images": prepared[:1]})
    status, _, answer = ask(server, "POST", "/api/predict", question, JSON)
    assert status == 200 and np.argmax(json.loads(answer)["probabilities"][0]) == 0
    gone = json.dumps({"state": "gone", "images": prepared[:1]})
    assert ask(server, "POST", "/api/predict", gone, JSON)[0] == 410


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "words"),
    [
        ("/api/image", b"no image", FILE, 400, "no image that can be read"),
        ("/api/image", png()[:200], FILE, 400, "damaged"),
        ("/api/image", png(), {"Content-Type": "image/png"}, 415, "application/octet-stream"),
        ("/api/adapt", b"{}", {"Content-Type": "text/plain"}, 415, "application/json"),
        ("/api/adapt", b"{", JSON, 400, "expected JSON"),
        ("/api/adapt", b"\xff", JSON, 400, "expected JSON"),
        ("/api/adapt", b"[" * 100_000, JSON, 400, "expected JSON"),
        ("/api/adapt", b"[]", JSON, 400, "images and labels"),
        ("/api/adapt", b'{"images": []}', JSON, 400, "images and labels"),
        ("/api/nothing", b"{}", JSON, 404, "no such request"),
    ],
)
def test_a_bad_request_is_answered_with_the_reason(server, path, body, headers, status, words):
    found, sent, answer = ask(server, "POST", path, body, headers)
    assert found == status
    assert words in json.loads(answer)["error"]
    assert "Content-Security-Policy" in sent


def test_an_upload_that_is_too_large_is_refused_in_words(server):
    status, _, answer = ask(server, "POST", "/api/image", bytes(MAX_UPLOAD + 1), FILE)
    assert status == 413
    assert "expected at most 20 MiB, received 20.0 MiB" in json.loads(answer)["error"]


def test_an_endless_upload_is_cut_off(server):
    for text, said in [
        (HEAD + b"Content-Length: 900000000000\r\n\r\nabc", (b" 413 ", b"Connection: close")),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            (b" 411 ", b"Connection: close"),
        ),
        (BROKEN_OFF, (b" 400 ", b"broke off")),
    ]:
        answer = raw(server, text)
        assert all(words in answer for words in said)


@pytest.mark.parametrize("length", [b"-5", b"1234567890123", b"many", b"5\r\nContent-Length: 6"])
def test_a_body_of_unknown_length_is_not_taken_for_a_request(server, length):
    smuggled = b"GET /api/model HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = raw(server, HEAD + b"Content-Length: " + length + b"\r\n\r\n" + smuggled)
    assert answer.startswith(b"HTTP/1.1 411 ") and b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.fixture
def ended(server, monkeypatch):
    """Set when the server has done with a connection."""
    ended, shut_down = threading.Event(), server.shutdown_request
    monkeypatch.setattr(server, "shutdown_request", lambda one: (shut_down(one), ended.set()))
    return ended


def test_an_upload_that_goes_silent_ends_quietly(server, ended, monkeypatch, capfd):
    monkeypatch.setattr(server.RequestHandlerClass, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(BROKEN_OFF)
        assert connection.recv(100) == b"", "it was answered"
        assert ended.wait(10)
    assert capfd.readouterr().err == ""


def test_a_connection_that_is_reset_ends_quietly(server, ended, capfd):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(BROKEN_OFF)
        time.sleep(0.1)  # the server reads by now
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ended.wait(10)
    assert capfd.readouterr().err == ""
    assert ask(server, "GET", "/")[0] == 200


@pytest.mark.parametrize(
    "text", [b"nonsense\r\n\r\n", b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /\r\n"]
)
def test_what_is_no_proper_request_breaks_nothing(server, text):
    raw(server, text)
    assert ask(server, "GET", "/")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:9000", 200),
        ("192.168.1.20:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
def test_a_strangers_name_for_this_server_is_refused(server, host, status):
    assert ask(server, "GET", "/api/model", headers={"Host": host})[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost:8000", "Host": "localhost:8000"}, 200),
        ({"Origin": "http://localhost:8000", "Host": "localhost:8001"}, 403),
        ({"Origin": "http://evil.example", "Host": "localhost:8000"}, 403),
        ({"Origin": "null", "Host": "localhost:8000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_other_sites_pages_cannot_post(server, headers, status):
    assert ask(server, "POST", "/api/image", png(), FILE | headers)[0] == status


def test_a_connection_serves_many_requests_a_refused_one_among_them(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    for body, status in ((png(), 200), (b"no image", 400), (png(), 200)):
        connection.request("POST", "/api/image", body, FILE)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.request("POST", "/api/image", png(), FILE | {"Origin": "http://evil.example"})
    assert connection.getresponse().read()
    connection.request("GET", "/api/model")
    assert connection.getresponse().status == 200, "the refused upload was taken for a request"
    connection.close()


def test_a_failure_of_the_model_is_said_and_survived(serve, capfd):
    class Broken(FakeModel):
        def adapt(self, images, labels):
            raise RuntimeError("out\nof luck")

    with serve(Broken()) as server:
        image = json.loads(ask(server, "POST", "/api/image", png(), FILE)[2])["image"]
        body = json.dumps({"images": [image, image], "labels": [0, 1]})
        status, _, answer = ask(server, "POST", "/api/adapt", body, JSON)
        assert (status, json.loads(answer)["error"]) == (500, "RuntimeError: out of luck")
        assert ask(server, "GET", "/")[0] == 200
    assert "RuntimeError: out of luck" in capfd.readouterr().err


def test_nothing_is_written(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # TMPDIR is read again
    prepared = json.loads(ask(server, "POST", "/api/image", png(2000), FILE)[2])["image"]
    examples = {"images": [prepared] * 3, "labels": [0, 1, 1]}
    for path in ("/api/adapt", "/api/confusion"):
        assert ask(server, "POST", path, json.dumps(examples), JSON)[0] == 200
    assert os.listdir(tmp_path) == []


def test_it_listens_on_this_machine_only_unless_told_otherwise(server, serve):
    assert server.is_local and server.url == f"http://127.0.0.1:{server.server_port}/"
    with serve(FakeModel(), host="0.0.0.0") as everywhere:
        assert not everywhere.is_local
        assert everywhere.url == f"http://127.0.0.1:{everywhere.server_port}/"


def test_other_devices_are_told_the_machines_own_address(server, serve, monkeypatch):
    assert server.url_elsewhere is None
    with serve(FakeModel(), host="0.0.0.0") as everywhere:
        for own in ("192.168.1.20", None):
            monkeypatch.setattr(demo_server, "_own_address", lambda family, own=own: own)
            expected = own and f"http://{own}:{everywhere.server_port}/"
            assert everywhere.url_elsewhere == expected


@pytest.mark.parametrize("host", ["192.168.1.20", "127.0.0.1", None])
def test_the_own_address_is_asked_for_without_sending(host, monkeypatch):
    class Probe(socket.socket):
        def connect(self, address):
            assert self.type == socket.SOCK_DGRAM
            if host is None:
                raise OSError("Network is unreachable")

        def getsockname(self):
            return (host, 40_000)

        def send(self, *_):
            pytest.fail("something was sent")

        sendto = sendall = send

    monkeypatch.setattr(socket, "socket", Probe)
    expected = None if host == "127.0.0.1" else host
    assert demo_server._own_address(socket.AF_INET) == expected


def test_the_machines_name_is_its_own_where_others_can_reach_it(server, serve, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Desk.lan")
    with serve(FakeModel(), host="0.0.0.0") as everywhere:
        for name in ("desk.lan", "DESK.local"):
            headers = {"Host": f"{name}:{everywhere.server_port}"}
            assert ask(everywhere, "GET", "/api/model", headers=headers)[0] == 200
            assert ask(server, "GET", "/api/model", headers=headers)[0] == 403
        for name in ("evil.local", "desk", "desk.lan.evil.example"):
            assert ask(everywhere, "GET", "/api/model", headers={"Host": name})[0] == 403


def test_a_port_that_is_taken_is_an_error(server):
    with pytest.raises(OSError):
        DemoServer("127.0.0.1", server.server_port)
