"""Prints the documents of a YAML file, or of standard input, as a list in JSON, with their anchors and merges resolved."""

import json
import sys

from ruamel.yaml import YAML

with open(sys.argv[1], encoding="utf-8") if len(sys.argv) > 1 else sys.stdin as file:
    json.dump(list(YAML(typ="safe").load_all(file)), sys.stdout)
