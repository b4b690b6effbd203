"""The endpoint's OpenAPI description as a page to read, without anything from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 52em; margin: 2em auto; padding: 0 1em }
code, pre { font-family: ui-monospace, monospace; font-size: .92em }
pre { overflow-x: auto; padding: .8em; border: 1px solid #8886 }
h2 { margin-top: 2em }
table { border-collapse: collapse }
td, th { padding: .2em 1em .2em 0; text-align: left; vertical-align: top }
"""
EXAMPLE = """curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/v1/people
curl -F image=@one.jpg -F image=@two.jpg http://127.0.0.1:8000/v1/people
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' -H 'Accept: image/png' \\
    http://127.0.0.1:8000/v1/people > people.png"""


def docs_page(schema: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI schema: each path with what it takes and answers."""
    info = schema["info"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<style>{STYLE}</style><h1>{escape(info['title'])}</h1><p>{escape(info['description'])} ",
        "For programs: <a href='/openapi.json'>openapi.json</a>. To try: <a href='/'>the page</a>.</p>",
        f"<pre>{escape(EXAMPLE)}</pre>",
    ]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parts += _operation(path, method, operation)
    return "".join(parts)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    for paragraph in operation.get("description", "").split("\n\n"):
        yield f"<p>{escape(paragraph)}</p>"
    rows = [
        (f"?{each['name']}=", f"{each.get('description', '')} (by default {each['schema'].get('default')})")
        for each in operation.get("parameters", [])
    ]
    rows += [("body", ", ".join(operation["requestBody"]["content"]))] if "requestBody" in operation else []
    rows += [(code, answer["description"]) for code, answer in sorted(operation["responses"].items())]
    yield "<table>"
    for name, text in rows:
        yield f"<tr><th><code>{escape(name)}</code></th><td>{escape(text)}</td></tr>"
    yield "</table>"
