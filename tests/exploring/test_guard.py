"""The server of an index answers those with the token alone, whatever is sent to it, and ends in order."""

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from unittest.mock import Mock

import pytest
from support.explored import COUNT, TOKEN, Client, serving

import openjepa
from openjepa.cli import status_of
from openjepa.commands.collection import explore
from openjepa.exploring import app, guard, protocol
from openjepa.exploring.collection import Refused
from openjepa.exploring.guard import POLICY, Guard, in_address
from openjepa.exploring.serving import Server

FILES = (b"root:", b"[project]", b"import ", b"SQLite")


def test_the_token_is_needed_for_everything(client):
    for path in ("/", "/static/app.js", "/api/index", "/api/openapi.json", "/api/thumbnails/0", "/nothing"):
        for given in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"):
            reply = client.get(path, Authorization=given)
            assert reply.status == 401 and "token" in reply.json["error"], (path, given)
    assert client.get("/api/index?token=" + TOKEN, Authorization="").status == 401
    assert client.get("/?token=wrong", Authorization="").status == 401


def test_a_browser_gets_the_token_as_a_cookie(client):
    entered = client.get(f"/?token={TOKEN}", Authorization="")
    assert (entered.status, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    name = cookie.partition(";")[0]
    assert client.get("/api/index", Authorization="", Cookie=name).status == 200
    assert client.get("/api/index", Authorization="", Cookie=f"{name}x").status == 401
    assert client.get("/api/index", Authorization="", Cookie='a="\x80; b').status == 401


def test_a_browser_is_opened_with_a_code_that_holds_once_and_not_with_the_token(client, monkeypatch):
    path = client.server.address_for_browser().removeprefix(client.server.address.removesuffix("/"))
    assert path.startswith("/?token=") and TOKEN not in path
    assert client.get(path, Authorization="", Host="evil.example").status == 403
    assert client.get("/api/index" + path[1:], Authorization="").status == 401
    entered = client.get(path, Authorization="")
    assert entered.status == 303 and TOKEN in entered.headers["set-cookie"]
    assert client.get(path, Authorization="").status == 401
    monkeypatch.setattr(guard, "CODE_SECONDS", -1)
    late = client.server.address_for_browser().rpartition("/")[2]
    assert client.get(f"/{late}", Authorization="").status == 401


def test_explore_opens_the_browser_without_the_token(home, monkeypatch, capfd):
    opened = []
    monkeypatch.setattr(explore, "opened_in_browser", opened.append)
    monkeypatch.setattr(Server, "run", lambda _: None)
    openjepa.explore(str(home / "index"))
    printed = capfd.readouterr().out.split("token=")[1].strip()
    assert len(opened) == 1 and printed not in opened[0]


@pytest.mark.parametrize("path", ["/api/index", "/", "/static/app.js"])
def test_another_host_or_origin_is_refused(client, path):
    here = f"127.0.0.1:{client.port}"
    for host in ("evil.example", f"evil.example:{client.port}", "127.0.0.1", "127.0.0.1:1", "[::1]", f"{here}.evil"):
        assert client.get(path, Host=host).status == 403, host
    for origin in ("http://evil.example", "null", f"https://{here}", "http://127.0.0.1", f"http://{here}.evil"):
        assert client.get(path, Origin=origin).status == 403, origin
    assert client.get("/api/index", Origin=f"http://{here}").status == 200
    assert client.get("/api/index", Host=f"localhost:{client.port}").status == 200
    assert client.get("/api/index", Sec_Fetch_Site="same-site").status == 403
    for reply in (client.get(path), client.get(path, Host="evil"), client.get(path, Authorization="")):
        assert reply.headers["content-security-policy"] == POLICY and reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff" and "cache-control" in reply.headers


@pytest.mark.parametrize(
    ("given", "sent"), [("LocalHost", "localhost"), ("0:0:0:0:0:0:0:1", "[::1]"), ("0:0::0", "[::1]")]
)
def test_a_host_may_be_written_in_other_ways(given, sent):
    checks = Guard(Mock(), TOKEN, given, 8000, cookie=True)
    headers = [(b"host", f"{sent}:8000".encode()), (b"authorization", f"Bearer {TOKEN}".encode())]
    assert checks.refusal({"type": "http", "path": "/", "query_string": b"", "headers": headers}) is None
    assert in_address(given) == ("[::]" if given == "0:0::0" else sent)


def test_a_server_for_programs_has_no_page_and_takes_no_cookie(index):
    with serving(index, page=False) as client:
        assert client.get("/api/index").json["page"] is False
        assert client.get("/").status == client.get("/static/app.js").status == 404
        assert client.get(f"/?token={TOKEN}", Authorization="").status == 401
        assert client.get("/api/index", Authorization="", Cookie=f"openjepa_{client.port}={TOKEN}").status == 401


def attacks():
    """300 requests that nobody should send: (method, path, body, headers)."""
    rng = random.Random(0)
    ways = [
        "../" * 8 + "etc/passwd",
        "..%2f" * 8 + "etc/passwd",
        "%2e%2e/" * 8 + "etc/passwd",
        "....//" * 8,
        "/etc/passwd",
    ]
    ways += ["..\\" * 6 + "windows", "%00", "%ff%fe", "pyproject.toml", "..%252f..%252fapp.py", "file:///etc/passwd"]
    places = ("/static/", "/api/images/", "/api/thumbnails/", "/api/columns/", "/api/uploads/", "/", "//")
    found = [("GET", place + way, None, {}) for place in places for way in ways]
    numbers = ("-1", "1e9", "9" * 30, "0x1", "٣", "1;drop", "nan", "%20", "0.5", "true")
    for number in numbers:
        found += [("GET", f"/api/images/{number}{tail}", None, {}) for tail in ("", "/facts", "/similarity?x=0&y=0")]
        found += [("GET", f"/api/images/0?size={number}", None, {}), ("GET", f"/api/outliers?top={number}", None, {})]
        found += [("GET", f"/api/names?ids={number}", None, {}), ("GET", f"/api/points?map={number}", None, {})]
        found += [("GET", f"/api/images/0/similarity?x={number}&y=0", None, {})]
    sql = [
        "1=1; drop table images",
        "path = '' or 1=1",
        "path like '%' union select",
        "read_parquet('/etc/passwd')",
        "'",
    ]
    sql += ["path = 'a' -- ", "(" * 500, "not " * 3000 + "path = 'a'", "path in (" + "'a'," * 500, "vector is null"]
    sql += ["width > 1e999", "captured > 'now'", "`path` = 'a'", "x" * 20_000, "1", "", 'path = "a"']
    found += [("POST", "/api/where", {"where": text}, {}) for text in sql]
    found += [("POST", "/api/search", {"image": 0, "where": text}, {}) for text in sql]
    bodies = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b'{"a":' * 50_000, b"1e999", b'{"image": NaN}']
    bodies += [
        {"image": -1},
        {"image": 10**12},
        {"image": "u0"},
        {"image": "/etc/passwd"},
        {"image": [0]},
        {"image": True},
    ]
    bodies += [
        {"image": 0, "top": 0},
        {"image": 0, "top": 10**9},
        {"image": 0, "box": [0, 0, 0, 0]},
        {"like": [0] * 101},
    ]
    bodies += [
        {"image": 0, "box": [0, 0, 2, 2]},
        {"box": [0, 0, 1, 1]},
        {"like": []},
        {"unlike": [0]},
        {"where": {"a": 1}},
    ]
    posts = ("/api/search", "/api/where", "/api/examples", "/api/export")
    found += [("POST", path, body, {}) for path in posts for body in bodies]
    found += [("POST", "/api/export", {"ids": [0], "name": "../x\r\nSet-Cookie: a=b"}, {})]
    found += [("POST", "/api/uploads", rng.randbytes(2**12), {}) for _ in range(4)]
    found += [("POST", "/api/uploads", b"\x89PNG\r\n\x1a\n" + rng.randbytes(999), {})]
    found += [("PUT", "/api/index", b"x", {}), ("DELETE", "/api/images/0", None, {}), ("POST", "/api/index", b"", {})]
    found += [
        ("GET", "/api/index", None, {"Cookie": "a" * 9000}),
        ("OPTIONS", "/api/index", None, {}),
        ("TRACE", "/", None, {}),
    ]
    found += [("GET", "/api/index", None, {"X_Forwarded_Host": "evil", "X_Forwarded_For": "1.1.1.1"})]
    return found


def test_no_attack_gets_a_file_or_a_failure_of_the_server(client, index, capfd):
    sent = attacks()
    assert len(sent) >= 300
    for method, path, body, headers in sent:
        if body == {"image": 0}:
            continue
        reply = client.ask(method, path.encode("ascii", "backslashreplace").decode(), body, **headers)
        assert reply.status < 500 and not any(mark in reply.body for mark in FILES), (method, path, body)
        if reply.status >= 400:
            assert list(reply.json) == ["error"] and "\n" not in reply.json["error"], (path, reply.body)
        elif method == "POST" and path == "/api/where":
            raise AssertionError(f"{body} was taken for a condition")
    assert client.get("/api/index").status == 200 and "failed" not in capfd.readouterr().err


def exchange(client: Client, parts: list[bytes], pause: float = 0.0) -> bytes:
    """What a server answers to bytes that are sent as they are, until it ends the connection."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as link:
        try:
            for part in parts:
                link.sendall(part)
                time.sleep(pause)
            found = b""
            while data := link.recv(2**16):
                found += data
        except (ConnectionError, BrokenPipeError):
            return b""
    return found


def test_what_is_no_http_and_what_is_too_large_or_too_slow_is_ended(client, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(app, "BODY_SECONDS", 0.3)
    head = f"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    assert b"400" in exchange(client, [b"hello\r\n\r\n"]) and exchange(client, [b"GET / HTTP/1.1\r\nX: "]) == b""
    begun = time.monotonic()
    assert exchange(client, [b"GET / HTTP/1.1\r\n", *[b"X: a\r\n"] * 20], pause=0.1) == b""
    assert b" 408 " in exchange(client, [head + b"Content-Length: 100\r\nConnection: close\r\n\r\nhalf"])
    chunked = head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n"
    assert b" 408 " in exchange(client, [chunked])
    assert time.monotonic() - begun < 10
    large = head + b"Content-Length: 99999999999\r\nConnection: close\r\n\r\n"
    assert b" 413 " in exchange(client, [large])
    monkeypatch.setattr(app, "BODY_SECONDS", 20)
    reply = client.post("/api/uploads", b"x" * (20 * 2**20 + 1))
    assert reply.status == 413 and "20,971,520" in reply.json["error"]
    assert exchange(client, [b"GET /" + b"a" * 2**16 + b" HTTP/1.1\r\n\r\n"])[:12] in (b"", b"HTTP/1.1 400")
    assert client.get("/api/index").status == 200


def test_who_does_not_read_answers_is_cut_also_without_a_token(client, monkeypatch):
    monkeypatch.setattr(protocol, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "CLOSE_SECONDS", 0.3)
    connections = client.server._server.server_state.connections
    before = set(connections)
    asked = f"GET /api/index HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode() * 200
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("127.0.0.1", client.port))
        link.settimeout(0.2)
        with contextlib.suppress(OSError):  # it does not take more, because its answers are not taken
            while True:
                link.sendall(asked)
        until = time.monotonic() + 8
        while set(connections) - before and time.monotonic() < until:
            time.sleep(0.05)
        assert not set(connections) - before


def test_a_large_body_waits_for_its_turn_before_its_time_runs(monkeypatch):
    async def parts():
        yield b"body"

    async def read(held):
        large = asyncio.Semaphore(1)
        await large.acquire()
        asyncio.get_running_loop().call_later(held, large.release)
        found = await app._body(Mock(headers={}, stream=parts), 2**20, large)
        assert not large.locked()  # its place is free again
        return found

    monkeypatch.setattr(app, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(app, "WAIT_SECONDS", 0.5)
    assert asyncio.run(read(0.2)) == b"body"
    with pytest.raises(Refused, match="busy") as refused:
        asyncio.run(read(1))
    assert refused.value.status == 503


@pytest.mark.parametrize("waiting", [0, 5])
def test_a_closed_connection_is_cut_where_the_rest_is_not_taken(waiting, monkeypatch):
    monkeypatch.setattr(protocol, "CLOSE_SECONDS", 0.01)
    transport = Mock(is_closing=lambda: False, get_write_buffer_size=lambda: waiting)
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        protocol.Ending(transport, loop).close()
        loop.run_until_complete(asyncio.sleep(0.05))
    assert transport.close.called and transport.abort.called == (waiting > 0)


def test_many_at_once(client):
    failed: list[int] = []

    def ask(number):
        replies = [client.get(f"/api/thumbnails/{number}"), client.post("/api/search", {"image": number, "top": 5})]
        failed.extend(reply.status for reply in replies if reply.status != 200)

    threads = [threading.Thread(target=ask, args=(number % COUNT,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explore", "nothing"], "nothing is not an index"),
        (["explore", "INDEX", "--host", "192.0.2.1"], "is not this machine alone"),
        (["explore", "INDEX", "--port", "70000"], "give 0 to 65535"),
        (["explore", "INDEX", "--port", "BUSY"], "give another --port"),
        (["serve", "INDEX", "--host", "0.0.0.0"], "open to other machines"),
        (["serve", "INDEX", "--token", "short"], "16 to 512 characters"),
        (["serve", "INDEX", "--host", "no.host.invalid", "--token", TOKEN], "not an address of this machine"),
        (["serve", "DAMAGED"], "is damaged"),
    ],
)
def test_what_cannot_be_served_is_one_line(words, said, home, client, capsys, monkeypatch):
    monkeypatch.delenv("OPENJEPA_TOKEN", raising=False)
    damaged = home / "damaged" / "images.lance" / "_versions"
    damaged.mkdir(parents=True, exist_ok=True)
    (damaged / "1.manifest").write_bytes(b"nothing")
    places = {"INDEX": str(home / "index"), "BUSY": str(client.port), "DAMAGED": str(home / "damaged")}
    assert status_of([places.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("command", ["explore", "serve"])
def test_a_command_prints_its_address_and_ends_with_ctrl_c(command, home, capfd, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")  # there is no terminal, so no browser is opened
    monkeypatch.setattr("webbrowser.open", lambda *_: pytest.fail("a browser was opened"))
    before = signal.getsignal(signal.SIGINT)
    run = Server.run

    def interrupted(server):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        run(server)

    monkeypatch.setattr(Server, "run", interrupted)
    try:
        assert status_of([command, str(home / "index"), "--port", "0"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("25 images of ")
    assert re.fullmatch(
        r"http://127\.0\.0\.1:\d+/\?token=\S{32}" if command == "explore" else r"token: \S{32}", lines[1]
    )


def test_without_the_extra_it_is_named(home, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert status_of(["explore", str(home / "index")]) == 2
    assert "pip install 'openjepa[explore]'" in capsys.readouterr().err
