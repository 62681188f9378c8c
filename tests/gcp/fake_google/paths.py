"""Field masks and filters: parts of resources by their paths."""

import re

from .errors import invalid


def camel(path):
    """A field mask's path in JSON's spelling."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), path)


def value_at(body, path):
    """What a body has at a path, or None."""
    for part in path.split("."):
        body = (body or {}).get(part)
    return body


def set_at(cluster, path, value):
    """Changes a cluster at a path."""
    if path == "labels":
        kept = {key: text for key, text in cluster.labels.items() if key.startswith("goog-")}
        cluster.labels = {**(value or {}), **kept}
        return
    set_in(cluster.config, path.removeprefix("config."), value)


def set_in(place, path, value):
    """Changes what a path leads to, or removes it for None."""
    *parents, last = path.split(".")
    for part in parents:
        place = place.setdefault(part, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value


def parse_filter(text):
    """Dataproc's filters: `labels.key = value AND status.state = RUNNING`; raises `ApiError`."""
    wanted = []
    for part in re.split(r"\s+AND\s+", text.strip()) if text.strip() else []:
        match = re.fullmatch(r"([\w.-]+)\s*=\s*\"?([^\"]*)\"?", part)
        if not match:
            raise invalid(f"Invalid filter '{text}'")
        wanted.append((match[1], match[2]))
    return wanted


def matches(shown, wanted):
    """Whether a resource is one that a filter wants."""
    return all((value_at(shown, path) is not None if value == "*" else value_at(shown, path) == value)
               for path, value in wanted)
