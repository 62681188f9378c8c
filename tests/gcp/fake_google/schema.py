"""Checks JSON against the schemas of a discovery document, each schema compiled once.

In requests, enum values that come as numbers (`enum-encoding=int`) become names. In answers every type is strict, and
names become numbers where the caller asked for that.
"""

import base64
import binascii
import json
import re

from .enums import numbers

DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
INTEGER = re.compile(r"-?\d+")
RANGES = {
    "int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1),
}


# Google's Python client sends numbers and booleans here as they are.
LENIENT = {"QueryParameterValue.value"}


class SchemaError(Exception):
    """Where a value departs from its schema, and how."""

    def __init__(self, path, problem):
        self.path = path
        super().__init__(f"Invalid JSON payload received. {problem} at '{path}'" if path else
                         f"Invalid JSON payload received. {problem}")


class Schemas:
    """The checkers of one discovery document, for one direction."""

    def __init__(self, api, schemas, answers=False, as_numbers=False):
        self.api = api
        self.schemas = schemas
        self.answers = answers
        self.as_numbers = as_numbers
        self.compiled = {}

    def check(self, name, value):
        """The value, normalised; raises `SchemaError`."""
        return self.named(name)(value, "")

    def named(self, name):
        """The checker of a schema by its name."""
        if name not in self.compiled:
            # A schema may contain itself, so its name stands for it while it is compiled.
            self.compiled[name] = lambda value, path: self.compiled[name](value, path)
            self.compiled[name] = self.compile(self.schemas[name], name)
        return self.compiled[name]

    def compile(self, schema, place):
        """The checker of a schema found at `place`."""
        if "$ref" in schema:
            return self.named(schema["$ref"])
        kind = schema.get("type", "any")
        if kind == "object":
            return self.object(schema, place)
        if kind == "array":
            return self.array(schema, place)
        if kind == "string" and "enum" in schema:
            return self.enum(schema, place)
        if place in LENIENT and not self.answers:
            return lambda value, path: value if isinstance(value, str) else json.dumps(value)
        return {"any": lambda: lambda value, path: value, "string": lambda: self.string(schema.get("format")),
                "integer": lambda: self.number(schema.get("format"), True),
                "number": lambda: self.number(None, False), "boolean": lambda: self.boolean}[kind]()

    def object(self, schema, place):
        """An object with known properties, or a map."""
        known = {name: self.compile(part, f"{place}.{name}") for name, part in schema.get("properties", {}).items()}
        others = schema.get("additionalProperties")
        other = self.compile(others, place) if others else None
        strict = self.answers

        def check(value, path):
            if not isinstance(value, dict):
                raise SchemaError(path, f"{kind_of(value)} where an object is expected")
            result = {}
            for name, part in value.items():
                checker = known.get(name, other)
                where = f"{path}.{name}" if path else name
                if checker is None:
                    raise SchemaError(path, f'Unknown name "{name}": Cannot find field')
                if part is None and not strict:
                    continue
                result[name] = checker(part, where)
            return result
        return check

    def array(self, schema, place):
        """A list."""
        item = self.compile(schema["items"], place)

        def check(value, path):
            if not isinstance(value, list):
                raise SchemaError(path, f"{kind_of(value)} where a list is expected")
            return [item(part, f"{path}[{index}]") for index, part in enumerate(value)]
        return check

    def enum(self, schema, place):
        """A name out of a list, or its number."""
        number_of = numbers(self.api, place, schema["enum"])
        by_number = {number: name for name, number in number_of.items()}
        names = set(schema["enum"])
        as_numbers, answers = self.as_numbers, self.answers

        def check(value, path):
            if isinstance(value, int) and not isinstance(value, bool) and not answers and value in by_number:
                return by_number[value]
            if not isinstance(value, str) or value not in names:
                raise SchemaError(path, f"Invalid value for enum {place}: {value!r}")
            return number_of.get(value, value) if as_numbers else value
        return check

    def string(self, form):
        """Text, of a form."""
        answers = self.answers

        def check(value, path):
            if not isinstance(value, str):
                # Both spellings of 64-bit integers are JSON of the same message; Google answers text.
                if form in RANGES and isinstance(value, int) and not isinstance(value, bool) and not answers:
                    value = str(value)
                else:
                    raise SchemaError(path, f"{kind_of(value)} where text is expected")
            if form and not well_formed(value, form):
                raise SchemaError(path, f"{value!r} is no {form}")
            return value
        return check

    def number(self, form, whole):
        """A number."""
        low, high = RANGES.get(form, (-float("inf"), float("inf")))
        answers = self.answers

        def check(value, path):
            if isinstance(value, str) and not answers and (INTEGER.fullmatch(value) or not whole):
                value = int(value) if whole else float(value)
            right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if not right or not (low <= value <= high or value != value):
                raise SchemaError(path, f"{value!r} is no {form or 'number'}")
            return value
        return check

    def boolean(self, value, path):
        """True or false."""
        if not isinstance(value, bool):
            raise SchemaError(path, f"{kind_of(value)} where true or false is expected")
        return value


def well_formed(value, form):
    """Whether text has the form that a schema names."""
    if form in RANGES:
        low, high = RANGES[form]
        return bool(INTEGER.fullmatch(value)) and low <= int(value) <= high
    if form == "google-duration":
        return bool(DURATION.fullmatch(value))
    if form in ("google-datetime", "date-time"):
        return bool(DATETIME.fullmatch(value))
    if form == "byte":
        try:
            base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
        except binascii.Error:
            return False
    return True


def kind_of(value):
    """What a JSON value is, in words."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), "null")
