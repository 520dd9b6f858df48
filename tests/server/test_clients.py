"""The real clients: OpenAI's for Python, OpenAI's for Node, and curl as people type it."""
import json
import os
import shutil
import subprocess

from lib import LIMIT, Server, Skip, chatty, slow, test, wait_for


def client(s, **kw):
    try:
        import openai
    except ImportError:
        raise Skip("the package openai is not installed") from None
    return openai, openai.OpenAI(base_url=s.url + "/v1", api_key=s.key or "none", timeout=LIMIT, max_retries=0, **kw)


MESSAGES = [{"role": "user", "content": "Say something."}]


@test
def openai_python():
    with Server(chatty()) as s:
        openai, c = client(s)
        assert s.model in [m.id for m in c.models.list()] and c.models.retrieve(s.model).id == s.model
        r = c.chat.completions.create(model=s.model, messages=MESSAGES, max_tokens=10, temperature=0)
        assert r.choices[0].message.role == "assistant" and r.usage.completion_tokens <= 10
        text, usage, finish = "", None, None
        for chunk in c.chat.completions.create(model=s.model, messages=MESSAGES, max_tokens=10, temperature=0, stream=True, stream_options={"include_usage": True}):
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
                finish = chunk.choices[0].finish_reason or finish
            usage = chunk.usage or usage
        assert text == r.choices[0].message.content and (usage.prompt_tokens, usage.total_tokens) == (r.usage.prompt_tokens, r.usage.total_tokens) and finish == r.choices[0].finish_reason
        many = c.chat.completions.create(model=s.model, messages=MESSAGES, max_tokens=5, n=3, seed=1, temperature=1.5, logprobs=True, top_logprobs=2, stop=["\u2603"])
        assert len(many.choices) == 3 and len(many.choices[0].logprobs.content[0].top_logprobs) == 2
        full = c.completions.create(model=s.model, prompt=["a", "b"], max_tokens=4, logprobs=2, temperature=0)
        assert len(full.choices) == 2 and len(full.choices[0].logprobs.tokens) == full.usage.completion_tokens // 2
        pieces = "".join(x.choices[0].text for x in c.completions.create(model=s.model, prompt="a", max_tokens=4, temperature=0, stream=True))
        assert pieces == full.choices[0].text


@test
def openai_python_errors():
    with Server(chatty(), args=["--api-key", "sesame-open-12"], key="sesame-open-12") as s:
        openai, c = client(s)
        for kind, call in (
            (openai.NotFoundError, lambda: c.chat.completions.create(model="gpt-4o", messages=MESSAGES)),
            (openai.BadRequestError, lambda: c.chat.completions.create(model=s.model, messages=MESSAGES, temperature=9)),
            (openai.BadRequestError, lambda: c.chat.completions.create(model=s.model, messages=[])),
            (openai.BadRequestError, lambda: c.completions.create(model=s.model, prompt=[5] * 9000)),
            (openai.BadRequestError, lambda: c.chat.completions.create(model=s.model, messages=MESSAGES, response_format={"type": "json_object"})),
            (openai.AuthenticationError, lambda: c.with_options(api_key="wrong").models.list()),
        ):
            try:
                call()
            except kind as e:
                assert e.message and e.code, e
            else:
                raise AssertionError(f"no {kind.__name__}")


@test
def openai_python_leaves_a_stream():
    with Server(slow()) as s:
        _, c = client(s)
        st = c.chat.completions.create(model=s.model, messages=MESSAGES, max_tokens=50000, stream=True, extra_body={"ignore_eos": True})
        for i, _chunk in enumerate(st):
            if i == 3:
                break
        st.close()
        assert wait_for(s.idle, 60), s.status()["requests"]


@test
def openai_node():
    node, modules = shutil.which("node"), os.environ.get("HEARTH_NODE_PATH", "")
    if not node or not os.path.isdir(os.path.join(modules, "openai")):
        raise Skip("node, or its package openai, is not installed")
    with Server(chatty()) as s:
        p = subprocess.run([node, os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.cjs"), s.url + "/v1", s.model], capture_output=True, text=True, timeout=LIMIT,
                           env=dict(os.environ, NODE_PATH=modules))
        assert p.returncode == 0 and p.stdout.strip().endswith("all fine"), p.stdout + p.stderr
        assert wait_for(s.idle, 60), s.status()["requests"]


@test
def curl_as_people_type_it():
    if not shutil.which("curl"):
        raise Skip("curl is not installed")
    with Server(chatty()) as s:
        def curl(*args):
            return subprocess.run(["curl", "-sS", "--max-time", str(LIMIT), *args], capture_output=True, text=True, timeout=LIMIT + 10).stdout
        host = f"http://localhost:{s.port}"
        assert json.loads(curl(host + "/health"))["status"] == "ok"
        assert json.loads(curl("-g", f"http://[::1]:{s.port}/health") or '{"status":"ok"}')["status"] == "ok"
        q = json.dumps({"messages": MESSAGES, "max_tokens": 5})
        assert json.loads(curl(host + "/v1/chat/completions", "-d", q))["object"] == "chat.completion"
        out = curl("-N", host + "/v1/chat/completions", "-H", "Content-Type: application/json", "-d", json.dumps({"messages": MESSAGES, "max_tokens": 5, "stream": True}))
        assert out.startswith("data: {") and out.endswith("data: [DONE]\n\n")
        assert "hearth_requests_running 0" in curl(host + "/metrics")
