"""The services as Google describes them: which requests exist, and what they may hold.

The documents are those that `google-api-python-client` ships.
"""

import json
import re
from pathlib import Path
from importlib.util import find_spec

from .enums import numbers
from .errors import invalid
from .schema import Schemas, SchemaError, well_formed

DOCUMENTS = ("bigquery.v2", "dataproc.v1", "cloudfunctions.v2", "iamcredentials.v1")

# Google's clients send these, and Google takes them, although no document names them.
UNDOCUMENTED = {"$alt", "$prettyPrint"}
STRAY = {"bigquery.tables.patch": {"autodetectSchema"}, "bigquery.tables.update": {"autodetectSchema"},
         "bigquery.jobs.get": {"projection"}, "bigquery.jobs.cancel": {"projection"}}


class Method:
    """One method of a service."""

    def __init__(self, api, document, method):
        self.api = api
        self.id = method["id"]
        self.http = method["httpMethod"]
        base = document["servicePath"]
        self.flat = pattern_of(base + method.get("flatPath", method["path"]))
        self.path = pattern_of(base + method["path"])
        self.segments = (base + method.get("flatPath", method["path"])).count("/")
        # More fixed text means a closer match: `jobs/{jobId}:cancel` before `jobs/{jobId}`.
        self.fixed = len(re.sub(r"\{[^}]*\}", "", base + method.get("flatPath", method["path"])))
        own = method.get("parameters", {})
        self.path_parameters = {name: part for name, part in own.items() if part["location"] == "path"}
        self.query = {name: part for name, part in own.items() if part["location"] == "query"}
        self.query.update(document["parameters"])
        self.request = method.get("request", {}).get("$ref")
        self.response = method.get("response", {}).get("$ref")

    def check_path(self, path):
        """The parameters of a path, or None when it is another method's."""
        if not self.flat.fullmatch(path):
            return None
        found = self.path.fullmatch(path)
        if not found:
            return None
        parameters = {name: found.group(f"p_{name}") for name in self.path_parameters}
        for name, value in parameters.items():
            form = self.path_parameters[name].get("pattern")
            if form and not re.match(form, value):
                return None
        return parameters

    def check_query(self, query):
        """The query's parameters with their types; raises `ApiError`."""
        result = {}
        for name, text in query.items():
            part = self.query.get(name)
            if part is None:
                if name in UNDOCUMENTED or name in STRAY.get(self.id, ()):
                    continue
                raise invalid(f'Invalid query parameter. Unknown name "{name}": Cannot bind query parameter')
            if text != "":
                result[name] = self.check_parameter(name, part, text, query)
        for name, part in self.query.items():
            if part.get("required") and name not in result:
                raise invalid(f'Required parameter "{name}" is missing', "required")
        return result

    def check_parameter(self, name, part, text, query):
        """One parameter with its type."""
        if part.get("repeated"):
            return [self.check_single(name, part, one) for one in query.getall(name)]
        return self.check_single(name, part, text)

    def check_single(self, name, part, text):
        """One value of a parameter."""
        kind, form = part.get("type"), part.get("format")
        wrong = invalid(f"Invalid value at '{name}': {text!r}")
        if "enum" in part:
            by_number = {str(number): value for value, number in numbers(self.api.name, name, part["enum"]).items()}
            text = by_number.get(text, text)
            # The documents spell some values of a query in lower case, the protocol in upper case.
            if text.upper() not in {value.upper() for value in part["enum"]}:
                raise wrong
            return text
        if kind == "boolean":
            if text.lower() not in ("true", "false"):
                raise wrong
            return text.lower() == "true"
        if kind == "integer":
            if not well_formed(text, form or "int64"):
                raise wrong
            return int(text)
        if form and not well_formed(text, form):
            raise wrong
        return text

    def check_body(self, body, parameters):
        """The body with enum values as names; raises `ApiError`."""
        if self.request is None:
            if body:
                raise invalid(f"{self.id} takes no body, found {', '.join(sorted(body))}")
            return {}
        known = self.api.schemas[self.request].get("properties", {})
        rest = {}
        for name, value in body.items():
            # The clients repeat a path's parameters in the body, which is right as long as they agree.
            if name not in known and name in self.path_parameters:
                if value != parameters[name]:
                    raise invalid(f"'{name}' is {value!r} in the body and {parameters[name]!r} in the path")
            else:
                rest[name] = value
        try:
            return self.api.requests.check(self.request, rest)
        except SchemaError as error:
            raise invalid(str(error)) from error

    def check_answer(self, answer, as_numbers):
        """The answer as it goes out; raises `SchemaError` for what Google would never send."""
        if self.response is None:
            if answer is not None:
                raise SchemaError("", f"{self.id} answers nothing")
            return None
        checker = self.api.numbered if as_numbers else self.api.answers
        return checker.check(self.response, answer)


class Api:
    """One service."""

    def __init__(self, document):
        self.name = document["name"]
        self.schemas = document["schemas"]
        self.requests = Schemas(self.name, self.schemas)
        self.answers = Schemas(self.name, self.schemas, answers=True)
        self.numbered = Schemas(self.name, self.schemas, answers=True, as_numbers=True)
        self.methods = [Method(self, document, method) for method in methods_of(document)]


class Discovery:
    """All services, and which method a request is for."""

    def __init__(self):
        folder = Path(find_spec("googleapiclient").submodule_search_locations[0], "discovery_cache", "documents")
        self.apis = [Api(json.loads(Path(folder, f"{name}.json").read_text())) for name in DOCUMENTS]
        self.methods = {method.id: method for api in self.apis for method in api.methods}
        self.index = {}
        for method in sorted(self.methods.values(), key=lambda method: -method.fixed):
            self.index.setdefault((method.http, method.segments), []).append(method)

    def find(self, http, path):
        """The method and its path's parameters, or None."""
        path = path.lstrip("/")
        for method in self.index.get((http, path.count("/")), ()):
            parameters = method.check_path(path)
            if parameters is not None:
                return method, parameters
        return None


def methods_of(resource):
    """All methods below a resource."""
    yield from resource.get("methods", {}).values()
    for part in resource.get("resources", {}).values():
        yield from methods_of(part)


def pattern_of(template):
    """A path's template as a pattern, with a group for each parameter."""
    pattern = ""
    for part in re.split(r"(\{[^}]*\})", template):
        if part.startswith("{+"):
            pattern += f"(?P<p_{part[2:-1]}>.+)"
        elif part.startswith("{"):
            pattern += f"(?P<p_{part[1:-1]}>[^/]+)"
        else:
            pattern += re.escape(part)
    return re.compile(pattern)
