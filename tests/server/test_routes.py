"""Every route has a test: what the table lists must have been asked by a test of this run."""
import re
import sys

from lib import ASKED, Server, Skip, chatty, test


@test
def every_route_was_tested():
    if sys.argv[1:]:
        raise Skip("only some tests ran")
    with Server(chatty()) as s:
        routes = s.get("/api/routes").json
        assert len(routes) > 10 and all(set(r) == {"method", "path", "name", "needs_key"} for r in routes)
        for r in routes:
            want = re.compile(re.escape(r["path"]) + (".+" if r["path"].endswith("/") and len(r["path"]) > 1 else "") + "$")
            assert any(m == r["method"] and want.match(p) for m, p in ASKED), f"no test asks {r['method']} {r['path']}"
        open_paths = {r["path"] for r in routes if not r["needs_key"]}
        assert open_paths == {"/health", "/"}, open_paths
