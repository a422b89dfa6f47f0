#!/usr/bin/env python3
"""Brings what the chart has from elsewhere up to date, or with --check says what is not.

  values.schema.json   the keys of `config`, from the table in docs/configuration.md, which the binary prints
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


def schema_of(path, default, value, meaning):
    """What the key takes, as a schema. Null leaves it at its default."""
    text = f"{meaning} {value[0].upper()}{value[1:]}. Default: {default}."
    whole = re.match(r"a whole number, from (\d+) to (\d+)", value)
    words = re.match(r"([a-z0-9_-]+(?:, [a-z0-9_-]+)* or [a-z0-9_-]+)$", value)
    if value.startswith("a duration"):
        or_word = ["never"] if ", or never" in value else []
        taken = {"type": ["string", "null"], "pattern": "^(" + "|".join([r"[0-9]+(ms|s|m|h|d)", *or_word]) + ")$"}
    elif value.startswith("a size"):
        or_word = ["none"] if ", or none" in value else []
        taken = {"type": ["string", "null"], "pattern": "^(" + "|".join([r"[0-9]+ *(B|KiB|MiB|GiB|TiB)", *or_word]) + ")$"}
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
    else:
        taken = {"type": ["string", "array", "null"], "items": {"type": "string"}}
    return {"description": text, **taken}


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


def schema():
    path = CHART / "values.schema.json"
    whole = json.loads(path.read_text())
    whole["$defs"]["config"] = config_schema(of_role=False)
    whole["$defs"]["configOfRole"] = config_schema(of_role=True)
    yield path, json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


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
        if path.read_text() == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if not check:
            path.write_text(text)
    for name in stale:
        print(f"{name} {'is not what it is made from: run `make helm-generate`' if check else 'written'}")
    return 1 if check and stale else 0


sys.exit(main())
