#!/usr/bin/env python3
# make-golden-templates.py - what Jinja makes of chat templates
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   tests/make-golden-templates.py            rewrites golden-text/templates.json
#   tests/make-golden-templates.py --random 5000 FILE    many more, into FILE
#
# `test-chat-template FILE` runs such a file: {"chats": [...], "templates":
# [[name, source, [text or null for each chat]], ...]}; null means an error.
# The environment is that of transformers. The first templates are written in
# the manner of those that LLaVA checkpoints bring; then come single features,
# then random ones.
import argparse
import json
import os
import random

from transformers.utils.chat_template_utils import _compile_jinja_template

IMAGES = ("{% for content in message['content'] | selectattr('type', "
          "'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}")
TEXTS = ("{% for content in message['content'] | selectattr('type', "
         "'equalto', 'text') %}{{ content['text'] }}{% endfor %}")

MODELS = {
    "llava-1.5": """{% for message in messages %}
{% if message['role'] != 'system' %}
{{ message['role'].upper() + ': '}}
{% endif %}
{# Render all images first #}
{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}
{{ '<image>\\n' }}
{% endfor %}
{# Render all text next #}
{% if message['role'] != 'assistant' %}
{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}
{{ content['text'] + ' '}}
{% endfor %}
{% else %}
{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}
{% generation %}
{{ content['text'] + ' '}}
{% endgeneration %}
{% endfor %}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ 'ASSISTANT:' }}
{% endif %}""",
    "vicuna": "{%- for message in messages -%}"
              "{%- if message.role == 'system' -%}" + TEXTS + "{{ ' ' }}"
              "{%- elif message.role == 'user' -%}USER: " + IMAGES + TEXTS +
              "{{ ' ' }}{%- elif message.role == 'assistant' -%}ASSISTANT: " +
              TEXTS + "{{ eos_token }}{%- endif -%}{%- endfor -%}"
              "{%- if add_generation_prompt -%}ASSISTANT:{%- endif -%}",
    "mistral": "{% for message in messages %}{% if message['role'] == 'system'"
               " %}{{ '<<SYS>>\n' + message['content'][0]['text'] + "
               "'\n<</SYS>>\n\n' }}{% elif message['role'] == 'user' %}"
               "{{ '[INST] ' }}" + IMAGES + TEXTS + "{{ ' [/INST]' }}"
               "{% elif message['role'] == 'assistant' %}"
               "{{ ' ' + message['content'][0]['text'] + '</s> ' }}"
               "{% else %}{{ raise_exception('Only user and assistant roles "
               "are supported!') }}{% endif %}{% endfor %}",
    "34b": "{% for message in messages %}{{ '<|im_start|>' + message['role'] +"
           " '\n' }}" + IMAGES + TEXTS + "{{ '<|im_end|>' }}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
           "{% endif %}",
    "72b": "{% for message in messages %}{% if loop.first and message['role']"
           " != 'system' %}{{ '<|im_start|>system\nYou are a helpful "
           "assistant.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + "
           "message['role'] + '\n' }}" + IMAGES + TEXTS +
           "{{ '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt "
           "%}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama3": "{% for message in messages %}{{ '<|start_header_id|>' + "
              "message['role'] + '<|end_header_id|>\n\n' }}" + IMAGES +
              "{% for content in message['content'] | selectattr('type', "
              "'equalto', 'text') %}{{ content['text'] | trim }}{% endfor %}"
              "{{ '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
              "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
              "{% endif %}",
    "namespaced": """{%- set ns = namespace(images=0, system='') -%}
{%- if messages[0]['role'] == 'system' -%}
  {%- set ns.system = messages[0].content[0].text | trim -%}
  {%- set loop_messages = messages[1:] -%}
{%- else -%}
  {%- set loop_messages = messages -%}
{%- endif -%}
{{- bos_token -}}
{%- for message in loop_messages %}
  {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Conversation roles must alternate') }}
  {%- endif %}
  {%- if message.content is string %}
    {{- message.content }}
  {%- else %}
    {%- for part in message.content %}
      {%- if part.type == 'image' or 'image' in part %}
        {%- set ns.images = ns.images + 1 %}
        {{- '[' ~ ns.images ~ ']<image>\\n' }}
      {%- elif 'text' in part %}
        {{- part.text }}
      {%- endif %}
    {%- endfor %}
  {%- endif %}
  {{- eos_token if not loop.last else '' }}
{%- endfor %}
{%- if ns.system %}{{ '\\n' + ns.system }}{% endif %}
{{- '>>>' if add_generation_prompt else '' -}}
""",
}

FEATURES = """
{{ 'a' }}{{- 'b' -}}  c
a  {%- if true %} b {% endif -%}  c
  {% if true %}
  x
  {% endif %}
y
a {% if true +%}
b{%+ if true %}c{% endif %}{% endif %}
{# comment #}
x {#- c -#} y {# c +#}
z
{% raw %}{{ x }}{% if %}{% endraw %}!
{%- raw -%}  {{ x }}  {%- endraw -%}  !
{{ "q'\\"\\n\\t\\x41\\u00e9\\\\" 'two' ' three' }}{{ '\\q\\101' }}
{{ 1 + 2 * 3 - 4 // 3 % 5 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 1_000 }}
{{ 'a' ~ 1 ~ none ~ true ~ 2 + 3 }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ not 1 == 2 }}
{{ 1 and 0 or 'x' }} {{ '' or none }} {{ not '' and 2 }}
{{ 'a' in 'abc' }} {{ 'x' not in ['x', 'y'] }} {{ 'k' in {'k': 1} }}
{{ [1, 2, 3][-1] }} {{ [1, 2, 3][5] }} {{ 'héllo'[1] }} {{ (1, 2)[0] }}
{{ [1, 2, 3, 4][1:3] | join(',') }} {{ 'héllo'[::-1] }} {{ 'hello'[-3:] }}
{{ 'x' if false }}|{{ 'x' if 0 else 'y' if 1 else 'z' }}
{{ messages | length }} {{ messages[0].role }} {{ messages[-1]['role'] }}
{{ messages[0].nothing }}|{{ nothing }}|{{ nothing is defined }}
{{ nothing.more }}
{{ nothing + 'x' }}
{{ messages[9].role }}
{{ bos_token is defined }} {{ pad_token is defined }} {{ unk_token | default('u') }}
{{ 1 is odd }} {{ 2 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }}
{{ 'a' is string }} {{ [] is string }} {{ {} is mapping }} {{ 1 is number }}
{{ [] is iterable }} {{ 'a' is sequence }} {{ none is none }} {{ 1 is not none }}
{{ true is true }} {{ 1 is true }} {{ false is false }} {{ 1 is integer }} {{ true is boolean }}
{{ 2 is eq 2 }} {{ 'a' is in ['a'] }} {{ 1 is ne 2 }} {{ 3 is gt 2 }} {{ 3 is lt(2) }}
{{ 'Hello World'.upper() }} {{ 'ABC'.lower() }} {{ "they're here".title() }} {{ "they're-here (now)" | title }}
{{ ' x '.strip() }}|{{ 'xxax'.lstrip('x') }}|{{ 'axx'.rstrip('x') }}|{{ '--a--' | trim('-') }}
{{ 'a-b-c'.replace('-', '+') }} {{ 'a-b-c' | replace('-', '', 1) }} {{ 'ab'.replace('', '.') }}
{{ 'a,b,c'.split(',') | join(';') }} {{ ' a  b c '.split() | join(';') }} {{ 'a,b,c'.split(',', 1)[1] }} {{ ' a  b c '.split(none, 1) | join(';') }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ ', '.join(['a', 'b']) }} {{ 'abc'.find('c') }}
{{ 'abc' | first }}{{ 'abc' | last }}{{ [] | first }} {{ 'abc' | reverse }} {{ [3, 1] | reverse | join }}
{{ 'abc' | upper | lower | capitalize }} {{ 'ABC dEF'.capitalize() }} {{ '12' | int + 1 }} {{ 'x' | int(7) }}
{{ messages | map(attribute='role') | join(', ') }} {{ ['a', 'b'] | map('upper') | join }}
{{ messages | selectattr('role', 'ne', 'user') | list | length }} {{ messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | join }}
{{ [0, 1, '', 'a', none] | select | list | length }} {{ [1, 2, 3, 4] | select('odd') | join }} {{ [1, 2, 3] | reject('divisibleby', 2) | join }}
{{ messages[0].content | selectattr('text') | list | length }} {{ messages[0].content | map(attribute='text', default='-') | join('|') }}
{{ {'a': 1, 'b': 2}.items() | length }} {% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}
{{ {'a': 1}.get('a') }} {{ {'a': 1}.get('b') }} {{ {'a': 1}.get('b', 2) }} {{ {'a': 1, 'b': 2}.values() | join }} {{ {'a': 1} | items | list | length }}
{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}
{% for i in range(1, 10, 3) %}{{ i }}{% else %}none{% endfor %}{% for i in [] %}{{ i }}{% else %}none{% endfor %}
{% for i in range(9) if i is odd %}{{ loop.index }}:{{ i }}{% if not loop.last %},{% endif %}{% endfor %}
{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for a in 'ab' %}{% for b in 'xy' %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% set x %}a{{ 1 }}b{% endset %}{{ x | upper }}{% set a, b = 1, 2 %}{{ a + b }}{% set t = 1, 2 %}{{ t | length }}
{% set ns = namespace(n=0) %}{% for i in range(5) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}
{% if false %}{% set y = 1 %}{% endif %}{{ y is defined }}{% if true %}{% set z = 1 %}{% endif %}{{ z }}
{% generation %}{% set g = 1 %}{{ g }}{% endgeneration %}{{ g }}
{{ raise_exception('no ' + messages[0].role) }}
{{ dict(a=1, b='x').b }}{{ namespace(a=3).a }}{{ messages[0]['content'][0]['type'] }}
{% if messages[0].role == 'user' and add_generation_prompt %}A{% elif messages | length > 1 %}B{% else %}C{% endif %}
{{ ((((1)))) }}{{ [[1, [2]], 3][0][1][0] }}{{ {'a': {'b': 'c'}}.a.b }}{{ {'x': [1, 2]}['x'][-1] }}
{{ 1 + 'a' }}
{{ 'a' + none }}
{{ 1 // 0 }}
{{ [1, 2] + [3] | list | length }} {{ ([1, 2] + [3]) | length }} {{ [1] == [1] }} {{ {'a': [1]} == {'a': [1]} }} {{ '1' == 1 }} {{ true == 1 }}
{% if %}{% endif %}
{% for x in 1 %}{% endfor %}
{% endif %}
{{ 'unclosed }}
{{ messages
{% if true %}
{# unclosed
{{ '{{' }} {{ '%}' }} { { } } {% if '%}' == '%}' %}ok{% endif %} {{ {'a': {'b': 1}}['a']['b'] }}
{{ -1 }}{{ - 1 }}{{ 2 - -1 }}{{ -'a' | length }}{{ 'a' | length - 2 }}{{ +3 }}
{{ messages[0].content[0].text | default('no text', true) }}{{ '' | default('e') }}{{ '' | default('e', true) }}{{ none | default('n', boolean=true) }}
{% for m in messages[1:] %}{{ m.role }}{% endfor %}{% for m in messages[:-1] %}{{ m.role }}{% endfor %}{% for m in messages[::-1] %}{{ m.role }}{% endfor %}
{{ true and false }}{{ None is none }}{{ True }}{{ False }}{{ (not false) ~ '' }}
{{ 'caf\u00e9 \u00fc' | upper }}{{ '\u01c6x'.title() }}
{% for x in messages -%}
  {{ x.role }}
{%- endfor %}
"""

CHATS = [
    [("user", [None, "What is shown in this image?"])],
    [("user", ["Q"])],
    [("system", ["You are helpful."]), ("user", ["Look: ", None, " there"])],
    [("user", [None, "Q1"]), ("assistant", ["  An answer. "]),
     ("user", ["Q2 \u00e9\u4e2d\U0001f600"])],
    [("user", [None, None])],
    [("assistant", [""]), ("tool", [])],
]


def as_messages(chat):
    return [{"role": role, "content": [
        {"type": "image"} if p is None else {"type": "text", "text": p}
        for p in parts]} for role, parts in chat]


class Random:
    """Templates out of a grammar, typed so that most of them render."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *options):
        option = self.r.choice(options)
        return option() if callable(option) else option

    def number(self, d=0):
        if d > 2:
            return self.pick("0", "1", "7", "i", "loop.index0")
        return self.pick(
            lambda: str(self.r.randrange(-5, 100)), "n", "messages | length",
            lambda: "(%s %s %s)" % (
                self.number(d + 1), self.pick("+", "-", "*", "//", "%"),
                self.number(d + 1)),
            lambda: "%s | length" % self.text(d + 1),
            lambda: "%s | length" % self.list(d + 1))

    def text(self, d=0):
        if d > 2:
            return self.pick("'a'", "''", "' Ab c '", "messages[0].role", "u",
                             "'\\n'", "\"it's\"", "s", "bos_token")
        return self.pick(
            "'user'", "s", "messages[-1]['role']", "'x-y (z)'", "eos_token",
            lambda: "(%s + %s)" % (self.text(d + 1), self.text(d + 1)),
            lambda: "(%s ~ %s)" % (self.text(d + 1), self.any(d + 1)),
            lambda: "%s.%s()" % (self.text(d + 1), self.pick(
                "upper", "lower", "title", "strip", "capitalize", "rstrip")),
            lambda: "(%s | %s)" % (self.text(d + 1), self.pick(
                "upper", "lower", "title", "trim", "capitalize", "first",
                "last", "string", "reverse", "replace('a', 'bb')",
                "default('d', true)")),
            lambda: "(%s | join(%s))" % (self.list(d + 1), self.text(d + 1)),
            lambda: "(%s if %s else %s)" % (
                self.text(d + 1), self.truth(d + 1), self.text(d + 1)),
            lambda: "%s[%s]" % (self.text(d + 1), self.pick(
                "0", "-1", "1:", ":-1", "::2", "::-1", "1:3", "9")),
            lambda: "%s.replace(%s, %s)" % (
                self.text(d + 1), self.text(d + 1), self.text(d + 1)))

    def list(self, d=0):
        if d > 2:
            return self.pick("[]", "[1, 2]", "['a', 'b']", "range(3)")
        return self.pick(
            "['x', 'y', 'z']",
            lambda: "[%s, %s]" % (self.any(d + 1), self.any(d + 1)),
            "(messages | map(attribute='role') | list)", "range(%d)" % d,
            lambda: "(%s | select('string') | list)" % self.list(d + 1),
            lambda: "(%s | map('string') | list)" % self.list(d + 1),
            lambda: "%s.split(%s)" % (self.text(d + 1), self.pick(
                "", "'a'", "' '", "'a', 1", "none, 1")))

    def truth(self, d=0):
        if d > 2:
            return self.pick("true", "false", "add_generation_prompt", "v",
                             "loop is defined")
        return self.pick(
            "messages | length > 1", "nothing is defined", "not bos_token",
            lambda: "%s %s %s" % (
                self.number(d + 1), self.pick("==", "<", ">=", "!="),
                self.number(d + 1)),
            lambda: "%s %s %s" % (
                self.text(d + 1), self.pick("==", "in", "not in", "<"),
                self.text(d + 1)),
            lambda: "(%s %s %s)" % (self.truth(d + 1), self.pick(
                "and", "or"), self.truth(d + 1)),
            lambda: "not %s" % self.truth(d + 1),
            lambda: "%s is %s%s" % (
                self.any(d + 1), self.pick("", "not "), self.pick(
                    "string", "number", "none", "defined", "iterable",
                    "boolean", "mapping", "eq 1")))

    def any(self, d=0):
        return self.pick(lambda: self.number(d), lambda: self.text(d),
                         lambda: self.truth(d), "none", "nothing", "s")

    def tag(self, text):
        # "{%+" and "+%}" are rarer and easily wrong
        left = self.pick("{%", "{%", "{%-", "{%-", "{%+")
        right = self.pick("%}", "%}", "-%}", "-%}", "+%}")
        return left + " " + text + " " + right

    def data(self):
        return self.pick("", "a", " ", "  ", "\n", "\n\n", "  \n", "\n  ",
                         "\t", "x \n y", "\u00a0", "\r\n", "} }", "{ %")

    def piece(self, d=0):
        body = lambda: self.body(d + 1)
        if d > 2:
            return self.data()
        return self.pick(
            self.data, self.data,
            lambda: "{{%s %s %s}}" % (self.pick("", "-"), self.any(),
                                      self.pick("", "-")),
            lambda: self.pick("{#", "{#-") + self.pick(" c ", "", "\n") +
            self.pick("#}", "-#}"),
            lambda: self.tag("if " + self.truth()) + body() +
            self.pick("", lambda: self.tag("elif " + self.truth()) + body()) +
            self.pick("", lambda: self.tag("else") + body()) +
            self.tag("endif"),
            lambda: self.tag("for i in " + self.pick(
                "range(3)", "messages", lambda: self.list())) + body() +
            self.pick("", lambda: self.tag("else") + body()) +
            self.tag("endfor"),
            lambda: self.tag("set %s = %s" % (self.pick("s", "v"),
                                              self.any())),
            lambda: self.tag("set s") + body() + self.tag("endset"),
            lambda: self.tag("raw") + self.pick("{{ x }}", " \n ", "a") +
            self.tag("endraw"),
            lambda: self.tag("set ns.c = ns.c + 1") + "{{ ns.c }}")

    def body(self, d=0):
        return "".join(self.piece(d) for _ in range(self.r.randrange(1, 6)))

    def template(self):
        return ("{% set n = 5 %}{% set u = 'Ux' %}{% set v = true %}"
                "{% set ns = namespace(c=0) %}{% set s = 'S s' %}" +
                self.body())


def render(source, chat, generation):
    try:
        return _compile_jinja_template(source).render(
            messages=as_messages(chat), add_generation_prompt=generation,
            bos_token="<s>", eos_token="</s>")
    except Exception:
        return None


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", default=os.path.join(
        here, "golden-text", "templates.json"))
    parser.add_argument("--random", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    MODELS["llava-1.5-lines"] = MODELS["llava-1.5"]
    MODELS["llava-1.5"] = MODELS["llava-1.5"].replace("\n", "")
    templates = list(MODELS.items())
    lines, joined = FEATURES.strip("\n").split("\n"), []
    for line in lines:
        if "\\n" in line or "{{" in line or "{%" in line or "{#" in line:
            joined.append(line)
    templates += [("feature-%d" % i, s) for i, s in enumerate(joined)]
    templates.append(("features", "\n".join(lines[:20])))
    grammar = Random(options.seed)
    templates += [("random-%d" % i, grammar.template())
                  for i in range(options.random)]
    with open(options.file, "w") as f:
        f.write('{"chats":%s,\n"templates":[\n' % json.dumps(
            [as_messages(c) for c in CHATS]))
        f.write(",\n".join(json.dumps(
            [name, source, [render(source, c, i % 2 == 0)
                            for i, c in enumerate(CHATS)]])
            for name, source in templates))
        f.write("]}\n")


main()
