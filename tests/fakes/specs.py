"""The services' published specifications, as a check on what clients send and doubles answer.

Every check returns sentences about what does not fit; an empty list is a pass. Names that a specification
does not know count as findings too, in both directions: services drop unknown parameters silently, and a
double that invents fields proves nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.fakes.exchange import Exchange

SPECS = Path(__file__).resolve().parents[3] / "shared" / "data" / "specs"
ANSWERED, SENT = "urn:answered", "urn:sent"


def specification(name: str) -> dict[str, Any]:
    """A specification's document; skips the test where the checkout stands alone."""
    path = SPECS / name
    if not path.is_file():
        pytest.skip(f"the specification is not there: ../{path.relative_to(SPECS.parents[2])}")
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


class DiscordSpec:
    """Source: Discord's OpenAPI 3.1 document, whose schemas are JSON Schema 2020-12."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = _closed(document, _extended(document))
        documents = {ANSWERED: self._document, SENT: _lenient(self._document)}
        resources = [(name, DRAFT202012.create_resource(it)) for name, it in documents.items()]
        self._registry: Registry[Any] = Registry().with_resources(resources)
        self._paths = sorted(document["paths"], key=lambda path: path.count("{"))

    def exchange(self, exchange: Exchange) -> list[str]:
        """One request and its answer against the operation they belong to."""
        where = f"{exchange.method} {exchange.path}"
        template = self._template(exchange.path)
        operation = self._document["paths"].get(template, {}).get(exchange.method.lower())
        if operation is None:
            return [f"{where}: no such operation"]
        at = f"/paths/{_pointer(template)}/{exchange.method.lower()}"
        return [
            *self._query(where, exchange, template, operation),
            *self._sent(where, exchange.sent, operation, at),
            *self._answered(where, exchange, operation, at),
        ]

    def value(self, value: Any, schema: str, where: str) -> list[str]:
        """A value against a named schema."""
        return self._fits(value, f"{ANSWERED}#/components/schemas/{schema}", where)

    def operation(self, exchange: Exchange) -> str:
        return f"{exchange.method} {self._template(exchange.path)}"

    def _template(self, path: str) -> str:
        for template in self._paths:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                return template
        return path

    def _query(
        self, where: str, exchange: Exchange, template: str, operation: dict[str, Any]
    ) -> Iterator[str]:
        declared = [
            *self._document["paths"][template].get("parameters", []),
            *operation.get("parameters", []),
        ]
        known = {parameter["name"] for parameter in declared if parameter["in"] == "query"}
        yield from (f"{where}: unknown query parameter {name}" for name in exchange.query.keys() - known)

    def _sent(self, where: str, sent: Any, operation: dict[str, Any], at: str) -> list[str]:
        wanted = operation.get("requestBody")
        if wanted is None:
            return [] if sent is None else [f"{where}: a body where none belongs"]
        if sent is None:
            return [f"{where}: no body"] if wanted.get("required") else []
        schema = f"{SENT}#{at}/requestBody/content/application~1json/schema"
        return self._fits(sent, schema, f"{where} sent")

    def _answered(self, where: str, exchange: Exchange, operation: dict[str, Any], at: str) -> list[str]:
        status, responses = str(exchange.status), operation["responses"]
        name = status if status in responses else f"{status[0]}XX"
        where = f"{where} answered {status}"
        if name not in responses:
            return [f"{where}: no such answer"]
        at, response = f"{at}/responses/{name}", responses[name]
        if "$ref" in response:
            at = response["$ref"].removeprefix("#")
            response = self._document["components"]["responses"][at.rpartition("/")[2]]
        if "content" not in response:
            return [] if exchange.answer is None else [f"{where}: a body where none belongs"]
        return self._fits(exchange.answer, f"{ANSWERED}#{at}/content/application~1json/schema", where)

    def _fits(self, value: Any, schema: str, where: str) -> list[str]:
        validator = Draft202012Validator({"$ref": schema}, registry=self._registry)
        # Of a choice that fits nowhere, the most telling part.
        errors = [best_match([error]) for error in validator.iter_errors(value)]
        return [f"{where}: {error.json_path}: {error.message}" for error in errors]


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _extended(node: Any) -> set[str]:
    """Names of the schemas that others build upon: those must stay open."""
    if isinstance(node, list):
        return set().union(*map(_extended, node))
    if not isinstance(node, dict):
        return set()
    bases = {part["$ref"].rpartition("/")[2] for part in node.get("allOf", []) if "$ref" in part}
    # A form with files builds upon every request; no JSON body does.
    return bases.union(*(_extended(part) for key, part in node.items() if key != "multipart/form-data"))


def _closed(node: Any, open_names: set[str], name: str = "", *, is_base: bool = False) -> Any:
    """A copy in which an object has no properties but those its schema names."""
    if isinstance(node, list):
        return [_closed(part, open_names, is_base=name == "allOf") for part in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _closed(value, open_names, key) for key, value in node.items()}
    is_object = node.get("type") == "object" and isinstance(node.get("properties"), dict)
    if is_object and not is_base and name not in open_names and "additionalProperties" not in node:
        copy["unevaluatedProperties"] = False
    return copy


def _lenient(document: dict[str, Any]) -> dict[str, Any]:
    """The document for requests, with what discord.py always sends and Discord takes, unsaid there."""
    schemas = dict(document["components"]["schemas"])
    schemas["SnowflakeType"] = {"anyOf": [schemas["SnowflakeType"], {"type": "integer", "minimum": 0}]}
    for name, extra in (("ApplicationCommandUpdateRequest", "nsfw"), ("MessageEditRequestPartial", "tts")):
        properties = {**schemas[name]["properties"], extra: {"type": "boolean"}}
        schemas[name] = {**schemas[name], "properties": properties}
    return {**document, "components": {**document["components"], "schemas": schemas}}


class TelegramSpec:
    """Source: the Bot API as JSON, with a type list per field, and types that are one of several others."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._types: dict[str, Any] = document["types"]
        # Telegram's method names are case-insensitive.
        self._methods: dict[str, Any] = {name.lower(): it for name, it in document["methods"].items()}

    def exchange(self, exchange: Exchange) -> list[str]:
        """One call, its raw form in ``sent``, and its answer."""
        method = self._methods.get(exchange.path.lower())
        if method is None:
            return [f"{exchange.path}: no such method"]
        return [*self._sent(method, exchange.sent), *self._answered(method, exchange.answer)]

    def value(self, value: Any, kind: str, where: str) -> list[str]:
        """A value against a type as the specification writes it: "Array of Message", "Integer"."""
        return list(self._fits(value, kind, where))

    def operation(self, exchange: Exchange) -> str:
        return str(self._methods.get(exchange.path.lower(), {"name": exchange.path})["name"])

    def _sent(self, method: dict[str, Any], form: Mapping[str, str]) -> Iterator[str]:
        fields = {field["name"]: field for field in method.get("fields", [])}
        where = f"{method['name']} sent"
        yield from (f"{where}: unknown {name}" for name in form.keys() - fields.keys())
        for name, field in fields.items():
            if name in form:
                yield from self._written(form[name], field["types"], f"{where} {name}")
            elif field["required"]:
                yield f"{where}: {name} is missing"

    def _written(self, text: str, kinds: list[str], where: str) -> list[str]:
        """A form's value is text: a String as it is, all else as JSON."""
        if "String" in kinds:
            return []
        try:
            value = json.loads(text)
        except ValueError:
            return [f"{where}: no JSON"]
        return self._one_of(value, kinds, where)

    def _answered(self, method: dict[str, Any], answer: dict[str, Any]) -> list[str]:
        where = f"{method['name']} answered"
        if answer["ok"]:
            return self._one_of(answer["result"], method["returns"], where)
        findings = self.value(answer.get("error_code"), "Integer", f"{where} error_code")
        findings += self.value(answer.get("description"), "String", f"{where} description")
        return findings + self.value(
            answer.get("parameters", {}), "ResponseParameters", f"{where} parameters"
        )

    def _one_of(self, value: Any, kinds: list[str], where: str) -> list[str]:
        """The findings of the kind that fits best."""
        return min((self.value(value, kind, where) for kind in kinds), key=len)

    def _fits(self, value: Any, kind: str, where: str) -> Iterator[str]:
        if kind.startswith("Array of "):
            yield from self._list_fits(value, kind.removeprefix("Array of "), where)
        elif kind not in self._types:
            if not _is_plain(value, kind):
                yield f"{where}: {value!r} is no {kind}"
        elif "subtypes" in self._types[kind]:
            yield from self._one_of(value, self._types[kind]["subtypes"], where)
        elif not isinstance(value, dict):
            yield f"{where}: {value!r} is no {kind}"
        else:
            yield from self._object_fits(value, self._types[kind], where)

    def _list_fits(self, value: Any, kind: str, where: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for at, part in enumerate(value):
            yield from self._fits(part, kind, f"{where}[{at}]")

    def _object_fits(self, value: dict[str, Any], kind: dict[str, Any], where: str) -> Iterator[str]:
        fields = {field["name"]: field for field in kind.get("fields", [])}
        yield from (f"{where}: {kind['name']} has no {name}" for name in value.keys() - fields.keys())
        for name, field in fields.items():
            if name in value:
                yield from self._one_of(value[name], field["types"], f"{where}.{name}")
            elif field["required"]:
                yield f"{where}: {kind['name']} needs {name}"


def _is_plain(value: Any, kind: str) -> bool:
    numbers: tuple[type, ...] = (int, float) if kind == "Float" else (int,)
    match kind:
        case "Integer" | "Float":
            return isinstance(value, numbers) and not isinstance(value, bool)
        case "Boolean":
            return isinstance(value, bool)
        case "String":
            return isinstance(value, str)
    return False
