"""Who may ask: Host, Origin, the key, which addresses it listens on."""
import os
import subprocess

from lib import BIN, LIMIT, Server, chatty, test


@test
def hosts():
    with Server(chatty()) as s:
        for good in ("localhost", "LOCALHOST:1", "127.0.0.1", f"127.0.0.1:{s.port}", "[::1]", f"[::1]:{s.port}"):
            assert s.get("/health", headers={"Host": good}).status == 200, good
        for bad in ("evil.example", "evil.example:11000", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.2", "[::2]", "[::1", "", "::1"):
            for path in ("/health", "/", "/api/status", "/v1/models"):
                r = s.get(path, headers={"Host": bad})
                assert r.status in (400, 403), (bad, r.status)
        assert s.post("/api/unload", {"model": s.model}, headers={"Host": "evil.example"}).error["code"] == "host_not_allowed"


@test
def origins():
    with Server(chatty(), args=["--allow-origin", "https://friend.example"]) as s:
        mine = f"http://127.0.0.1:{s.port}"
        r = s.get("/api/status", headers={"Origin": mine})
        assert r.status == 200 and "access-control-allow-origin" not in r.headers
        for bad in ("http://evil.example", "null", f"http://evil.example:{s.port}", "http://127.0.0.1:1", "https://friend.example.evil.example", "http://friend.example", ""):
            r = s.get("/api/status", headers={"Origin": bad})
            assert r.status == 403 and r.error["code"] == "origin_not_allowed", (bad, r.status)
            assert "access-control-allow-origin" not in r.headers
        r = s.get("/api/status", headers={"Origin": "https://friend.example"})
        assert r.status == 200 and r.headers["access-control-allow-origin"] == "https://friend.example" and "Origin" in r.headers["vary"]
        r = s.ask("OPTIONS", "/v1/chat/completions", headers={"Origin": "https://friend.example", "Access-Control-Request-Method": "POST"})
        assert r.status == 204 and "POST" in r.headers["access-control-allow-methods"]
        r = s.ask("OPTIONS", "/v1/chat/completions", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
        assert r.status == 403
        r = s.ask("OPTIONS", "/v1/chat/completions")
        assert r.status == 204 and "POST" in r.headers["allow"] and "access-control-allow-methods" not in r.headers


@test
def api_key():
    with Server(chatty(), args=["--api-key", "sesame-open-12"], key="sesame-open-12") as s:
        for path in ("/api/status", "/v1/models", "/metrics", "/api/routes", "/nothing/here"):
            for auth in (None, "Bearer wrong", "Bearer sesame-open-1", "Bearer sesame-open-123", "Basic sesame-open-12", "sesame-open-12", "Bearer "):
                r = s.get(path, headers={"Authorization": auth})
                assert r.status == 401 and r.headers["www-authenticate"] == "Bearer" and r.error["type"] == "authentication_error", (path, auth)
        r = s.post("/v1/chat/completions", {"messages": []}, headers={"Authorization": None})
        assert r.status == 401
        assert s.get("/health", headers={"Authorization": None}).status == 200
        assert s.get("/", headers={"Authorization": None}).status == 200
        assert s.get("/v1/models").status == 200
        assert s.chat("hello")["choices"]
        assert s.get("/nothing/here").status == 404


@test
def beyond_loopback_only_with_a_key():
    env = dict(os.environ, HEARTH_HOME=os.path.join(os.path.dirname(chatty()), "home-host"))
    p = subprocess.run([BIN, "up", "--port", "0", "--no-open", "--host", "0.0.0.0", "--model", chatty()], capture_output=True, text=True, timeout=LIMIT, env=env)
    assert p.returncode != 0 and "--api-key" in p.stderr, p.stderr
    with Server(chatty(), args=["--host", "0.0.0.0", "--api-key", "sesame-open-12"], key="sesame-open-12") as s:
        assert s.get("/v1/models", headers={"Host": "my-desktop.lan:1234"}).status == 200
        assert s.get("/v1/models", headers={"Host": "my-desktop.lan:1234", "Authorization": None}).status == 401
    with Server(chatty(), args=["--host", "localhost"]) as s:
        assert s.get("/health").status == 200


@test
def a_taken_port_is_told():
    with Server(chatty()) as s:
        p = subprocess.run([BIN, "up", "--port", str(s.port), "--no-open", "--model", chatty()], capture_output=True, text=True, timeout=LIMIT,
                           env=dict(os.environ, HEARTH_HOME=s.home + "-2"))
        assert p.returncode != 0 and str(s.port) in p.stderr, p.stderr
