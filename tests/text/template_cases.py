"""Template cases: conversations for the real templates, and snippets for every construct. The reference is Python's jinja2 with
the settings of transformers."""
import json
from datetime import datetime


def reference_env():
    import jinja2
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser):
            lineno = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_through"), [], [], body).set_lineno(lineno)

        @staticmethod
        def _through(caller):
            return caller()

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda fmt: datetime.now().strftime(fmt)
    return env


def reference(env, source, context):
    """(text or None, error or None)"""
    try:
        return env.from_string(source).render(**context), None
    except Exception as e:  # any refusal counts: the point is that both refuse
        return None, f"{type(e).__name__}: {e}"


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather \"now\" <b>&</b> 天気\n\tin a city",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "City's name"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
        "days": {"type": "array", "items": {"type": "integer"}}}, "required": ["city"]}}}
SEARCH = {"type": "function", "function": {"name": "search", "description": "", "parameters": {"type": "object", "properties": {}}}}


def call(name, args, ident=None):
    c = {"type": "function", "function": {"name": name, "arguments": args}}
    if ident:
        c["id"] = ident
    return c


def conversations():
    user = {"role": "user", "content": "Hello, how are you?"}
    system = {"role": "system", "content": "  You are terse.\n"}
    reply = {"role": "assistant", "content": "Fine. 你好 \U0001F600 e\u0301\n"}
    base = {
        "one": [user],
        "system": [system, user],
        "turns": [system, user, reply, {"role": "user", "content": "And <|im_end|> </s> \"quotes\" \\ {{ x }} {% y %}?"}],
        "many": [system] + [dict(m, content=f"{m['content']} {i}") for i in range(12) for m in (user, reply)] + [user],
        "empty": [{"role": "user", "content": ""}],
        "spaces": [{"role": "user", "content": " \n\t padded \u00a0\n"}, {"role": "assistant", "content": "\n\nx\n\n"}, user],
        "unicode": [{"role": "user", "content": "ÀÉ 日本語 עברית \u2028 \U0001F468\u200d\U0001F469 \u0000x".replace("\u0000", "")}],
        "ends_assistant": [user, reply],
        "think": [user, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nAnswer"}, user],
        "think_field": [user, {"role": "assistant", "content": "A", "reasoning_content": "because"}, user],
        "tool_turn": [user, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Bern", "n": 1.5}, "abcdefghi")]},
                      {"role": "tool", "name": "get_weather", "content": "{\"t\": 20}", "tool_call_id": "abcdefghi"}, reply],
        "tool_two": [system, user, {"role": "assistant", "content": "Let me see.", "tool_calls": [call("search", {"q": "a\"b"}, "aaaaaaaaa"), call("get_weather", {"city": "Zürich", "x": [1, None, True]}, "bbbbbbbbb")]},
                     {"role": "tool", "content": "r1", "tool_call_id": "aaaaaaaaa"}, {"role": "tool", "content": "r2", "tool_call_id": "bbbbbbbbb"}],
        "none_content": [user, {"role": "assistant", "content": None, "tool_calls": [call("search", {}, "ccccccccc")]}, {"role": "tool", "content": "x", "tool_call_id": "ccccccccc"}],
        "parts": [{"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "image"}, {"type": "text", "text": " this? "}]}],
        "bad_order": [reply, user],
        "two_users": [user, user],
        "odd_role": [{"role": "critic", "content": "x"}],
        "developer": [{"role": "developer", "content": "d"}, user],
    }
    out = {}
    for name, messages in base.items():
        for gen in (True, False):
            for tools in (None, [WEATHER], [WEATHER, SEARCH]):
                if tools and name in ("many", "spaces", "unicode", "empty", "think_field") and len(tools) > 1:
                    continue
                ctx = {"messages": messages, "add_generation_prompt": gen, "bos_token": "<s>", "eos_token": "</s>", "date_string": "26 Jul 2024"}
                if tools:
                    ctx["tools"] = tools
                out[f"{name}/gen={int(gen)}/tools={len(tools or [])}"] = ctx
    out["tools=None"] = {"messages": [user], "tools": None, "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
    out["no thinking"] = {"messages": [user], "enable_thinking": False, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
    return out


CTX = {
    "s": "Hello World", "e": "", "u": "Ünïcödé 日本 ß", "n": 7, "neg": -7, "f": 2.5, "big": 1e22, "small": 1e-7, "t": True, "fa": False, "no": None,
    "l": [3, 1, 2], "ls": ["b", "A", "c"], "ll": [[1, 2], [3, 4]], "d": {"b": 1, "a": "x", "items": 5, "k y": None}, "ed": {}, "el": [],
    "objs": [{"name": "x", "v": 2, "g": "p"}, {"name": "Y", "v": 1, "g": "q"}, {"name": "z", "g": "p", "in": {"k": 9}}],
    "html": "<a href='x'>&\"</a>", "ws": " \t a b \n", "multi": "one\n\ntwo\nthree\n", "mixed": ["a", 1, None, True, 1.5, {"k": [1]}],
    "q": "it's", "qq": "it's \"both\"", "ctl": "a\x01\x7f\u200b\\\n", "nums": "12ab", "bos_token": "<s>", "eos_token": "</s>",
}

# one snippet per line; \n inside stands for a line break
SNIPPETS = r"""
plain text
{{ s }}
{{ s }}\n
{{ s }}\n\n
\n{{ s }}
a {{- s -}} b
a {{ s -}} \n b
a \n {{- s }} b
{{ no }} {{ t }} {{ fa }} {{ n }} {{ f }} {{ big }} {{ small }}
{{ undefined_name }}|{{ d.nothing }}|{{ l[9] }}|{{ s[99] }}
{{ undefined_name.x }}
{{ undefined_name[0] }}
{{ undefined_name + 1 }}
{{ undefined_name() }}
{{ no.x }}|{{ n.x }}|{{ l.x }}
{{ no.x.y }}
{{ l }} {{ ls }} {{ d }} {{ mixed }} {{ ll }} {{ ed }} {{ el }}
{{ (1,) }} {{ (1, 2) }} {{ () }} {{ [q, qq, ctl, u] }}
{{ {'a': 1, 2: [3], none: true} }}
{{ 'a' 'b' "c" }}
{{ 'tab\there\nline\\ \' \" \x41 \u00e9 \101 \q' }}
{{ "it's" }}{{ 'say "x"' }}
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 2 ** 3 ** 2 }} {{ 2 ** -1 }}
{{ 7.0 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 1 / 3 }} {{ 10 / 2 }} {{ 1e3 }} {{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ n + f }} {{ t + 1 }} {{ n * 'ab' }} {{ 'ab' * 3 }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1,) + (2,) }}
{{ s + 1 }}
{{ s + no }}
{{ [1] + (2,) }}
{{ n - s }}
{{ s ~ n ~ no ~ t ~ f ~ undefined_name ~ l }}
{{ 1 ~ 2 + 3 }}
{{ -n }} {{ +n }} {{ -f }} {{ - 3 | abs }} {{ -s }}
{{ -3|abs }} {{ (-3)|abs }} {{ 2 - 3|abs }}
{{ n == 7 }} {{ n != 7 }} {{ n < 8 }} {{ n <= 7 }} {{ n > 7 }} {{ n >= 7 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }}
{{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 'a' == 1 }} {{ no == none }} {{ d == {'b': 1} }} {{ l == [3, 1, 2] }} {{ (1, 2) == [1, 2] }}
{{ 'a' < 1 }}
{{ no < 1 }}
{{ undefined_name < 1 }}
{{ undefined_name == 1 }} {{ undefined_name == undefined_name }} {{ undefined_name != 1 }}
{{ 'lo' in s }} {{ 'x' in s }} {{ 3 in l }} {{ 'b' in d }} {{ 9 not in l }} {{ 'x' not in d }} {{ 'a' in undefined_name }}
{{ 1 in s }}
{{ 'a' in no }}
{{ not t }} {{ not e }} {{ not not n }} {{ not n == 7 }} {{ t and n }} {{ e or 'dflt' }} {{ no or fa }} {{ t and fa or 3 }}
{{ 'y' if t else 'n' }} {{ 'y' if fa else 'n' }} [{{ 'y' if fa }}] {{ 'a' if fa else 'b' if fa else 'c' }}
{{ (s if t else e)[0:3] }}
{{ s[0] }} {{ s[-1] }} {{ s[0:5] }} {{ s[:5] }} {{ s[6:] }} {{ s[::2] }} {{ s[::-1] }} {{ s[-3:] }} {{ s[5:0:-2] }} {{ s[20:30] }} {{ u[1:4] }} {{ u[::-1] }}
{{ l[0] }} {{ l[-1] }} {{ l[1:] }} {{ l[::-1] }} {{ l[:-1] }} {{ l[5:] }} {{ (1, 2, 3)[1:] }} {{ l[::-2] }} {{ l[2:0:-1] }}
{{ l[::0] }}
{{ l['a'] }}|{{ s['upper']() }}|{{ d['b'] }}|{{ d.b }}|{{ d['k y'] }}|{{ d['items'] }}|{{ d.items() | list }}
{{ ll[0][1] }} {{ ll.0.1 }} {{ objs[0].name }} {{ objs[2]['in'].k }}
{{ s.upper() }} {{ s.lower() }} {{ 'heLLo wOrld x-y'.title() }} {{ 'hELLO wORLD'.capitalize() }} {{ 'aBc'.swapcase() }}
{{ ws.strip() }}|{{ ws.lstrip() }}|{{ ws.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.strip('ab') }}|{{ 'xya'.lstrip('yx') }}
{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.split(none, 1) }} {{ 'a b c d'.split(maxsplit=2) }} {{ ''.split() }} {{ ''.split(',') }}
{{ 'a/b/c'.rsplit('/', 1) }} {{ 'a\nb\r\nc'.splitlines() }} {{ multi.splitlines() }} {{ 'a.b.c'.partition('.') }} {{ 'a.b.c'.rpartition('.') }} {{ 'abc'.partition('x') }}
{{ s.startswith('He') }} {{ s.endswith('ld') }} {{ s.startswith(('x', 'H')) }} {{ s.endswith(('x', 'y')) }} {{ s.startswith('') }}
{{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 1) }} {{ 'abc'.replace('', '-') }} {{ s.find('o') }} {{ s.find('zz') }} {{ s.rfind('o') }} {{ s.index('W') }} {{ s.count('l') }} {{ u.find('日') }}
{{ s.index('zz') }}
{{ ', '.join(ls) }} {{ '-'.join('abc') }} {{ ''.join([]) }}
{{ ','.join([1, 2]) }}
{{ 'abc'.isalpha() }} {{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'AB'.isupper() }} {{ 'ab'.islower() }} {{ ''.isalpha() }} {{ nums.isdigit() }}
{{ '7'.zfill(3) }} {{ 'a'.ljust(3) }}| {{ 'a'.rjust(3, '*') }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }}
{{ '{} and {}'.format(1, 'b') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x}'.format(x=3) }} {{ '{:>5}|{:<5}|{:^5}'.format('a', 'b', 'c') }} {{ '{:.2f}'.format(3.14159) }} {{ '{:05d}'.format(42) }} {{ '{{}}'.format() }}
{{ '%s is %d' % ('a', 3) }} {{ '%05.2f|%5s|%-5s|%x' % (3.14159, 'a', 'b', 255) }} {{ '%s' % 'x' }} {{ '%d%%' % 5 }} {{ '%(a)s' % {'a': 1} }}
{{ '%s' | format('x') }} {{ '%s-%s' | format(1, no) }}
{{ d.keys() | list }} {{ d.values() | list }} {{ d.get('a') }} {{ d.get('z') }} {{ d.get('z', 'dd') }} {{ d.items() | list }}
{{ l.append(4) }}
{{ d.update({'x': 1}) }}
{{ d.pop('a') }}
{{ l.index(1) }} {{ l.count(1) }} {{ (1, 2).index(2) }}
{% for x in l %}{{ x }}{% endfor %}
{% for x in l -%} {{ x }} {%- endfor %}
{% for x in l %}\n{{ x }}\n{% endfor %}\nend
  {% for x in l %}\n    {{ x }}\n  {% endfor %}\n
  {%+ if t %}x{% endif %}
{% if t +%}\nx{% endif %}
a\n   {% if t %}\n b\n   {%- endif %}\nc
{#- comment -#}  x {# another #} y
a {# c #}\nb
a\n  {# c #}\nb
{% raw %}{{ not }} {% parsed %}{% endraw %}
  {%- raw -%}  x {{ y }}  {%- endraw -%}  z
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}
{% for x in l %}{{ loop.previtem is defined }}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in [1, 1, 2, 2, 3] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}
{% for x in el %}x{% else %}empty{% endfor %}{% for x in undefined_name %}x{% else %}none{% endfor %}
{% for x in n %}x{% endfor %}
{% for x in no %}x{% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% else %}no{% endfor %}
{% for x in l if x > 10 %}{{ x }}{% else %}no{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }},{% endfor %}{% for c in 'añb' %}[{{ c }}]{% endfor %}
{% for (a, b) in ll %}{{ a }}-{{ b }} {% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in l %}{{ a }}{% endfor %}
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}
{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for a in [1, 2] %}{% for b in [1, 2, 3] %}{% if b == 2 %}{% break %}{% endif %}{{ a }}{{ b }} {% endfor %}{% endfor %}
{% for i in range(3) %}{{ i }}{% endfor %} {{ range(5) | list }} {{ range(1, 10, 3) | list }} {{ range(5, 0, -2) | list }} {{ range(0) | list }}
{{ range(1000000) | list | length }}
{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}{% if fa %}a{% elif fa %}b{% elif n %}c{% endif %}
{% if undefined_name %}a{% else %}b{% endif %}{% if not undefined_name %}c{% endif %}{% if el %}d{% endif %}{% if ed is mapping %}e{% endif %}
{% set x = 5 %}{{ x }}{% set x = x + 1 %}{{ x }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}
{% set x = 1 %}{% for i in l %}{% set x = i %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{% endfor %}{{ x }}
{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}
{% set ns = namespace(c=0) %}{% for i in l %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}{{ ns.zz }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{% set ns.a = 'x' %}{{ ns.a }}
{% set d.x = 1 %}
{% set x %}a{{ n }}b{% endset %}{{ x }}{{ x | length }}
{% set x | upper %}abc{% endset %}{{ x }}
{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}
{% macro m(a, b=2, c='z') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(a=5, c=6) }}{{ m() }}
{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}
{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}
{% macro m() %}{{ y }}{% endmacro %}{% set y = 3 %}{{ m() }}
{% macro fact(n) %}{% if n < 2 %}1{% else %}{{ n * fact(n - 1) | int }}{% endif %}{% endmacro %}{{ fact(5) }}
{% macro m() %}({{ caller() }}){% endmacro %}{% call m() %}body {{ n }}{% endcall %}
{% macro m(l) %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(x) m(l) %}<{{ x }}>{% endcall %}
{% macro m() %}{% if caller is defined %}yes{% else %}no{% endif %}{% endmacro %}{{ m() }}{% call m() %}{% endcall %}
{% macro m(a) -%}  {{ a }}  {%- endmacro %}|{{ m(3) }}|{{ m.name }}
{% macro show(v, depth=0) %}{% if v is mapping %}{% for k, x in v.items() %}{{ '  ' * depth }}{{ k }}:{{ show(x, depth + 1) }}{% endfor %}{% else %}{{ v }};{% endif %}{% endmacro %}{{ show({'a': {'b': 1, 'c': {'d': 2}}, 'e': 3}) }}
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b') | upper %}banana{% endfilter %}
{% generation %}{{ s }}{% endgeneration %}|{% generation %}{% set zz = 1 %}{% endgeneration %}{{ zz }}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with %}{% set q9 = 1 %}{{ q9 }}{% endwith %}{{ q9 }}
{{ n is defined }} {{ zz is defined }} {{ zz is undefined }} {{ no is none }} {{ n is not none }} {{ s is string }} {{ d is mapping }} {{ l is sequence }} {{ l is iterable }} {{ s is iterable }} {{ n is iterable }} {{ n is number }} {{ t is number }} {{ n is integer }} {{ t is integer }} {{ f is float }} {{ t is boolean }} {{ t is true }} {{ fa is false }} {{ n is true }}
{{ n is odd }} {{ n is even }} {{ n is divisibleby 7 }} {{ n is divisibleby(2) }} {{ n is equalto 7 }} {{ n is eq(7) }} {{ n is ne 7 }} {{ n is lt 8 }} {{ n is gt(8) }} {{ n is ge 7 }} {{ n is le 6 }} {{ 3 is in l }} {{ 'ab' is lower }} {{ 'AB' is upper }} {{ n is sameas 7 }} {{ d is callable }} {{ range is callable }} {{ zz is sequence }} {{ d is sequence }}
{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }}
{{ not n is odd }} {{ n is not odd }} {{ n is odd and n > 3 }} {{ (n is odd) ~ 'x' }} {{ 1 + 2 is odd }} {{ n is odd is even }}
{{ s | length }} {{ l | count }} {{ d | length }} {{ u | length }} {{ zz | length }} {{ el | length }}
{{ n | length }}
{{ ws | trim }}| {{ 'xax' | trim('x') }} {{ s | upper | lower }} {{ 'hello world-foo (bar' | title }} {{ 'aBC dEF' | capitalize }} {{ u | upper }} {{ u | lower }}
{{ ls | join }} {{ ls | join(', ') }} {{ l | join('-') }} {{ mixed | join('|') }} {{ objs | join(',', attribute='name') }} {{ el | join(',') }} {{ 'abc' | join('.') }}
{{ l | first }} {{ l | last }} [{{ el | first }}] {{ s | first }} {{ s | last }} {{ d | first }}
{{ zz | default('x') }} {{ zz | d('y') }} {{ no | default('x') }} {{ no | default('x', true) }} {{ e | default('x', boolean=true) }} {{ zz | default }} {{ d.zz | default(3) }} {{ zz.a | default('x') }}
{{ d.zz.a | default('x') }}
{{ l | sort }} {{ ls | sort }} {{ ls | sort(case_sensitive=true) }} {{ l | sort(reverse=true) }} {{ objs[:2] | sort(attribute='v') | map(attribute='name') | list }} {{ l | reverse | list }} {{ s | reverse }}
{{ mixed | sort }}
{{ [1, 2, 1, 'a', 'A'] | unique | list }} {{ ['b', 'a', 'B'] | unique | list }} {{ objs | unique(attribute='g') | map(attribute='name') | list }}
{{ objs | map(attribute='name') | list }} {{ objs | map(attribute='v', default=0) | list }} {{ ls | map('upper') | list }} {{ l | map('string') | join('+') }} {{ ls | map('replace', 'b', 'q') | list }} {{ objs | map(attribute='in.k', default='-') | list }}
{{ l | select('odd') | list }} {{ l | reject('odd') | list }} {{ [0, 1, '', 'a', none] | select | list }} {{ [0, 1, '', 'a', none] | reject | list }} {{ l | select('gt', 1) | list }} {{ l | select('in', [1, 2]) | list }}
{{ objs | selectattr('v') | map(attribute='name') | list }} {{ objs | selectattr('v', 'defined') | list | length }} {{ objs | selectattr('g', 'equalto', 'p') | map(attribute='name') | list }} {{ objs | rejectattr('g', 'equalto', 'p') | map(attribute='name') | list }} {{ objs | selectattr('v', '>', 1) | list | length }}
{{ '5' | int }} {{ 'x' | int }} {{ 'x' | int(9) }} {{ '3.7' | int }} {{ 3.9 | int }} {{ '0x1f' | int(base=16) }} {{ ' 12 ' | int }} {{ no | int }} {{ t | int }} {{ '2.5' | float }} {{ 'x' | float }} {{ 'x' | float(1.5) }} {{ 3 | float }} {{ nums | int }}
{{ html | forceescape }} [{{ d | attr('b') }}] {{ (s | attr('upper'))() }} [{{ s | attr('nope') }}]
{{ l | select('==', 1) | list }} {{ l | select('!=', 1) | list }} {{ l | select('<', 2) | list }} {{ l | select('lessthan', 2) | list }} {{ l | select('<=', 2) | list }} {{ l | select('>', 2) | list }} {{ l | select('greaterthan', 2) | list }} {{ l | select('>=', 2) | list }}
{{ 3 | string }}{{ no | string }}{{ l | string }} {{ s | list }} {{ d | list }} {{ (1, 2) | list }}
{{ 42.55 | round }} {{ 42.55 | round(1) }} {{ 42.55 | round(1, 'floor') }} {{ 42.55 | round(1, 'ceil') }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 42 | round }} {{ -2.5 | round | int }} {{ 1234.5 | round(-2) }}
{{ -3 | abs }} {{ -2.5 | abs }} {{ [3, 1, 2] | min }} {{ [3, 1, 2] | max }} {{ ls | max }} {{ l | sum }} {{ objs[:2] | sum(attribute='v') }} {{ [1, 2] | sum(start=10) }} {{ el | sum }} [{{ el | max }}]
{{ d | items | list }} {{ d | dictsort }} {{ {'b': 1, 'A': 2} | dictsort }} {{ {'b': 1, 'a': 2} | dictsort(by='value') }} {{ {'b': 1, 'a': 2} | dictsort(reverse=true) }} {{ zz | items | list }}
{{ multi | indent }}| {{ multi | indent(2) }}| {{ multi | indent(2, true) }}| {{ multi | indent(2, blank=true) }}| {{ multi | indent('> ') }}| {{ 'a\nb' | indent(width=3, first=true) }}
{{ html | e }} {{ html | escape }} {{ html | safe }} {{ n | e }}
{{ range(7) | batch(3) | list }} {{ range(7) | batch(3, 'x') | list }} {{ range(7) | slice(3) | list }} {{ range(7) | slice(3, 'x') | list }}
{% for g in objs | groupby('g') %}{{ g.grouper }}:{{ g.list | length }};{% endfor %}{% for k, items in objs | groupby('g') %}{{ k }}{{ items | map(attribute='name') | join }}{% endfor %}
{{ 'a b  c, d' | wordcount }} {{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'foo bar baz qux' | truncate(11) }} {{ 'foo bar baz qux' | truncate(11, false, '...', 0) }} {{ 'ab' | center(7) }}|
{{ d | tojson }} {{ mixed | tojson }} {{ s | tojson }} {{ u | tojson }} {{ ctl | tojson }} {{ html | tojson }} {{ no | tojson }} {{ t | tojson }} {{ f | tojson }} {{ big | tojson }} {{ (1, 2) | tojson }} {{ el | tojson }} {{ ed | tojson }}
{{ d | tojson(indent=2) }} {{ mixed | tojson(indent=4) }} {{ el | tojson(indent=2) }} {{ ed | tojson(indent=2) }} {{ ll | tojson(indent=1) }} {{ d | tojson(indent='\t') }} {{ ll | tojson(indent=0) }}
{{ d | tojson(sort_keys=true) }} {{ u | tojson(ensure_ascii=true) }} {{ '😀' | tojson(ensure_ascii=true) }} {{ d | tojson(separators=(',', ':')) }} {{ ll | tojson(separators=(', ', ': '), indent=2) }} {{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}
{{ zz | tojson }}
{{ range | tojson }}
{{ raise_exception('boom ' ~ n) }}
{{ nofilter | nope }}
{{ n is nope }}
{% nope %}
{% if %}{% endif %}
{{ }}
{{ 1 + }}
{% for x in l %}
{% endfor %}
{{ (1 }}
{{ 'abc }}
{{ s } }}
{% macro m( %}{% endmacro %}
{% break %}
{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': 1}.a }}
{{ [1, 2, 3,] }} {{ (1, 2,) }} {{ {'a': 1,} }}
{{ dict(a=1, b=2) }} {{ dict({'x': 1}, y=2) }} {{ dict([('p', 1)]) }} {{ namespace(a=1).a }}
{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
{{ 'a' if n else 'b' ~ 'c' }}{{ ('a' if n else 'b') ~ 'c' }}
{{ d['a'] | upper ~ '!' }} {{ d.a | default('z') | upper }}
{{ l | map('abs') | sum }} {{ l | sort | first }} {{ (l | sort)[0] }} {{ l | join(',') | length }}
{{ '' is string and '' | length == 0 }}
{{ true and 'x' or 'y' }}{{ none or 'z' }}{{ False }}{{ True }}{{ None }}{{ true == True }}
{{ "a" in ["a"] and "b" not in ["a"] }}
{{ f(1) if f is defined and f is callable else 'nf' }}
{% set content = 'abc' %}{% if content is string %}{{ content }}{% else %}{% for c in content %}{{ c }}{% endfor %}{% endif %}
{%- set ns = namespace(found=false) -%}{%- for o in objs -%}{%- if o.name == 'Y' -%}{%- set ns.found = true -%}{%- endif -%}{%- endfor -%}{{- ns.found -}}
{{ bos_token ~ 'x' + eos_token }}{{ bos_token + s + eos_token }}
{% for m in objs %}{% if not loop.last %}{{ m.name }},{% else %}{{ m.name }}.{% endif %}{% endfor %}
{% for o in objs | selectattr('g', 'eq', 'p') %}{{ loop.index }}{{ o.name }}{% endfor %}
{{ objs[1:] | length }}{{ objs[-1].name }}{{ objs | length - 1 }}
{{ (objs | first).name }}{{ objs | map(attribute='name') | first }}
{{ '\n' }}x{{ "\n\n" }}y{{ '\\n' }}
{{ s|upper|replace("WORLD","x") }}{{s}}{{-s-}}
{{ 10 | string + 'a' }}{{ 3 * 'a' | upper }}
{{ 1.0 }} {{ 1.50 }} {{ 100.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789012345680.0 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1e100 }} {{ 0.1 + 0.2 }} {{ 1/3 }} {{ -0.0 }}
{{ 9223372036854775807 }} {{ 4611686018427387904 * 1 }}
{% if 'x' is in ['x'] %}in{% endif %}{% if loop is defined %}l{% else %}nl{% endif %}
{% for a in [1] %}{% for b in [2] %}{{ loop.depth }}{% endfor %}{{ loop.depth }}{% endfor %}
{% for a in [1, 2] %}{% set outer = loop %}{% for b in [2] %}{{ outer.index }}{% endfor %}{% endfor %}
{{ [[1, [2, (3,)]], {'a': {'b': []}}] }}
{% set a = [] %}{% for x in l %}{% set a = a + [x] %}{% endfor %}{{ a }}{% set ns = namespace(a=[]) %}{% for x in l %}{% set ns.a = ns.a + [x] %}{% endfor %}{{ ns.a }}
{{ l is iterable and l is not string and l is not mapping }}
{{ 'a\
b' }}
{{ s[1:3][0] }}{{ s.split(' ')[1][0] }}{{ s.split(' ')[-1].upper()[::-1] }}
{{ u[0] }}{{ u[-1] }}{{ u[7:9] }}{{ u | list | length }}{{ u.upper() }}{{ u.title() }}{{ u.capitalize() }}
{{ '  x  '.strip() | length }}{{ '\u00a0x\u2003'.strip() | length }}{{ '\x1cx\x1f' | trim | length }}
{{ 'ABC'.lower().title() }}{{ "they're bill's".title() }}{{ "they're bill's" | title }}
{%- if messages is defined -%}m{%- else -%}no messages{%- endif -%}
{% for x in l %}{{ x }}{{ ', ' if not loop.last }}{% endfor %}
{% for x in l %}{{- x -}}{% if not loop.last %}, {% endif %}{%- endfor %}
{{ objs | tojson }}
{{ objs | map('tojson') | join('\n') }}
{% for o in objs %}{{ o | tojson(indent=4) }}\n{% endfor %}
x{% if t %}  \n  y{% endif %}  \n  z\n
\t{% if t %}\n\tx\n\t{% endif %}\n\ty
 {{ n }} \n {% set zz = 1 %} \n {{ zz }}
{% set x = 1 -%}\n\n  {{ x }}
{%- for x in l %}\n- {{ x }}\n{%- endfor %}\nend
"""


def snippets():
    out = []
    lines = SNIPPETS.strip("\n").split("\n")
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.endswith("\\"):  # a line break inside a string literal
            line += "\n" + lines[i + 1]
            i += 1
        i += 1
        out.append(line)
    cooked = []
    for s in out:
        # \n outside string literals means a line break in the template; inside braces it is left to the template's strings
        parts, depth, k = [], 0, 0
        while k < len(s):
            two = s[k:k + 2]
            if two in ("{{", "{%"):
                depth += 1
            elif two in ("}}", "%}"):
                depth = max(0, depth - 1)
            if depth == 0 and two in ("\\n", "\\t"):
                parts.append("\n" if two == "\\n" else "\t")
                k += 2
                continue
            parts.append(s[k])
            k += 1
        cooked.append("".join(parts))
    return cooked
