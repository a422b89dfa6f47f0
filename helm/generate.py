#!/usr/bin/env python3
"""Brings what the chart has from elsewhere up to date, or with --check says what is not.

  files/values.json    what is taken for each value: the keys of `config`, from the table in docs/configuration.md, which
                       the binary prints; defaults, from values.yaml. The rest of it is written by hand.
  values.schema.json   the same for editors, without what Helm would refuse by: its words say neither what is allowed nor
                       what was meant, so templates/_shape.tpl holds values against files/values.json instead
  README.md            the table of values, from values.yaml

Needs Python alone. Usage: generate.py [--check]
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "postrider"

# What a role may have of its own: nothing that processes must agree on.
OF_A_ROLE = re.compile(
    r"log\.kafka\.(queue|queue_wait|linger|fetch|properties)$"
    r"|store\.(?!url)|delivery\.(in_flight|in_flight_per_endpoint|answering_share|memory|drain)$|http\.|logs\."
)


def keys():
    """Every key of the configuration with what it takes, in words."""
    for line in (ROOT / "docs" / "configuration.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 5 and cells[1].startswith("`POSTRIDER__"):
            path, _, default, value, meaning = cells
            yield path.strip("`"), default.strip("`"), value, meaning.strip(" |")


IPV4 = r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/(3[0-2]|[12]?[0-9])"
IPV6 = r"[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}/(12[0-8]|1[01][0-9]|[1-9]?[0-9])"
LEVEL = "(off|error|warn|info|debug|trace)"
# Keys whose values are lists, as a list or separated by commas: how the value begins in words, and what each is.
LISTS = {
    "brokers": r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}",
    "networks": f"({IPV4}|{IPV6})",
    "waits": r"[0-9]{1,15} *(ms|s|m|h|d)",
    "a level": rf"({LEVEL}|[^\s,]*[=\[][^\s,]*)",
}
# Those that are one text.
TEXTS = {
    "an address such as http": r"^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$",
    "up to 100 of a-z": r"^[a-zA-Z0-9._-]{0,100}$",
    "a name without blanks": r"^\S*$",
    "a name of up to 200": r"^.{1,200}$",
}
# What may hold a password is not shown by who refuses it.
HIDDEN = re.compile(r"a secret|headers|32 bytes|sqlite:|properties|an address such as http")
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000} | {
    unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))
}


def counted(text):
    """A duration in milliseconds, a size in bytes."""
    number, unit = re.fullmatch(r"(\d+) *(\w+)", text).groups()
    return int(number) * UNITS[unit]


def mode_of(path, meaning):
    """In which mode alone the key does something."""
    if path.startswith(("log.kafka.", "registry.")) or meaning.startswith("PostgreSQL:"):
        return {"x-mode": "distributed"}
    return {"x-mode": "single"} if meaning.startswith("Embedded log:") else {}


def schema_of(path, default, value, meaning):
    """What the key takes, as a schema, and in words (x-takes). Null leaves it at its default."""
    text = f"{meaning} {value[0].upper()}{value[1:]}. Default: {default}."
    bounds = re.search(r", from (\S+) to (\S+)$", value)
    whole = re.match(r"a whole number, from (\d+) to (\d+)", value)
    words = re.match(r"([a-z0-9_-]+(?:, [a-z0-9_-]+)* or [a-z0-9_-]+)$", value)
    listed = next((each for start, each in LISTS.items() if value.startswith(start)), None)
    pattern = next((one for start, one in TEXTS.items() if value.startswith(start)), None)
    if value.startswith(("a duration", "a size")):
        units = "ms|s|m|h|d" if value.startswith("a duration") else "B|KiB|MiB|GiB|TiB"
        or_word = [word for word in ("never", "none") if value.endswith(f", or {word}")]
        taken = {"type": ["string", "null"], "pattern": "^(" + "|".join([rf"[0-9]{{1,15}} *({units})", *or_word]) + ")$"}
        if bounds:
            taken["x-bounds"] = [counted(bounds[1]), counted(bounds[2])]
    elif value == "true or false":
        taken = {"type": ["boolean", "null"]}
    elif whole:
        taken = {"type": ["integer", "null"], "minimum": int(whole[1]), "maximum": int(whole[2])}
    elif value.startswith("a share"):
        taken = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
    elif words:
        taken = {"enum": [*re.split(r", | or ", words[1]), None]}
    elif path.endswith(".properties"):
        taken = {"type": ["object", "string", "null"], "additionalProperties": {"type": ["string", "number", "boolean"]}}
    elif listed:
        taken = {"type": ["string", "array", "null"], "items": {"type": "string"}, "x-each": f"^{listed}$"}
    elif pattern:
        taken = {"type": ["string", "null"], "pattern": pattern}
    else:
        taken = {"type": ["string", "null"]}
    hidden = {"x-hidden": True} if HIDDEN.match(value) else {}
    return {"description": text, "default": default, **taken, "x-takes": value, **hidden, **mode_of(path, meaning)}


def config_schema(of_role):
    root = {"type": "object", "additionalProperties": False, "properties": {}}
    for path, default, value, meaning in keys():
        if of_role and not OF_A_ROLE.match(path):
            continue
        at = root
        *sections, name = path.split(".")
        for section in sections:
            fresh = {"type": ["object", "null"], "additionalProperties": False, "properties": {}}
            at = at["properties"].setdefault(section, fresh)
        at["properties"][name] = schema_of(path, default, value, meaning)
    return root


def default_of(text):
    """A default as values.yaml has it, on one line."""
    if text.startswith("{") and text != "{}":
        pairs = (pair.split(": ") for pair in text.strip("{}").split(", "))
        return {name: default_of(one) for name, one in pairs}
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def defaults():
    """Every default that stands on one line, by its path."""
    for name, text, _ in values():
        one = default_of(text) if text else {}
        if isinstance(one, dict) and one:
            yield from ((f"{name}.{below}", value) for below, value in one.items())
        elif text:
            yield name, one


# What says of a value what it is, and refuses none.
FOR_EDITORS = ("$ref", "$schema", "title", "description", "properties", "$defs")


def for_editors(rule):
    """The same without what anything is refused by. Words that are taken are suggested."""
    taken = {key: rule[key] for key in FOR_EDITORS if key in rule}
    if "enum" in rule:
        taken["examples"] = [word for word in rule["enum"] if word is not None]
    for key in ("properties", "$defs"):
        if key in taken:
            taken[key] = {name: for_editors(below) for name, below in taken[key].items()}
    return taken


def schema():
    path = CHART / "files" / "values.json"
    whole = json.loads(path.read_text())
    whole["$defs"]["config"] = config_schema(of_role=False)
    whole["$defs"]["configOfRole"] = config_schema(of_role=True)
    whole["x-defaults"] = dict(defaults())
    yield path, json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    yield CHART / "values.schema.json", json.dumps(for_editors(whole), indent=2, ensure_ascii=False) + "\n"


def values():
    """Every leaf of values.yaml: its path, its default as written, and the comment above it."""
    above, comment = [], ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        if not line.strip():
            comment = ""
            continue
        if line.strip().startswith("#"):
            comment = f"{comment} {line.strip()[1:].strip()}".strip()
            continue
        found = re.match(r"( *)([A-Za-z0-9]\w*): ?(.*)$", line)
        if not found:
            continue
        indent, name, default = len(found[1]), found[2], found[3]
        above = [(depth, word) for depth, word in above if depth < indent] + [(indent, name)]
        yield ".".join(word for _, word in above), default, comment
        comment = ""


def readme():
    path = CHART / "README.md"
    rows = ["| Value | Default | |", "|---|---|---|"]
    for name, default, comment in values():
        if default or comment:
            shown = f"`{default}`" if default else ""
            rows.append(f"| `{name}` | {shown} | {comment} |".replace("|  |", "| |"))
    before, _, rest = path.read_text().partition("<!-- values -->\n")
    _, _, after = rest.partition("<!-- end of values -->")
    table = "\n".join(rows)
    yield path, f"{before}<!-- values -->\n{table}\n<!-- end of values -->{after}"


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    for path, text in [*schema(), *readme()]:
        if path.exists() and path.read_text() == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if not check:
            path.write_text(text)
    for name in stale:
        print(f"{name} {'is not what it is made from: run `make helm-generate`' if check else 'written'}")
    return 1 if check and stale else 0


sys.exit(main())
