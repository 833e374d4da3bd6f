"""Holds the custom resources among the documents of standard input to their definitions, the files that are named.

Prints what fits; ends with 1 if something does not, or if no document is such a resource. What a definition does not know is
refused, as `kubectl apply --validate=strict` does.
"""

import sys

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML


def closed(schema):
    """The schema with nothing allowed beside what it names."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


def definitions(files):
    """Schemas by version and kind."""
    found = {}
    for name in files:
        with open(name, encoding="utf-8") as file:
            spec = YAML(typ="safe").load(file)["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            # The API server's own, which the definition leaves open.
            schema["properties"]["metadata"] = {"type": "object"}
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def main():
    known = definitions(sys.argv[1:])
    checked, wrong = 0, 0
    for document in YAML(typ="safe").load_all(sys.stdin):
        schema = known.get((document["apiVersion"], document["kind"]))
        if schema is None:
            continue
        checked += 1
        name = f"{document['kind']} {document['metadata']['name']}"
        for error in Draft202012Validator(schema).iter_errors(document):
            wrong += 1
            print(f"{name}: {error.json_path}: {error.message}", file=sys.stderr)
        print(f"{name}: looked at")
    sys.exit(1 if wrong or not checked else 0)


main()
