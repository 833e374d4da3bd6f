"""Arithmetic and a simulation for hubs that nobody has a machine for: docs/scaling.md.

    python3 tests/bench/scaling plan --clients 10e6 --nodes 200 --workers 5
    python3 tests/bench/scaling deploy | crash | outage

What things cost is in costs.py, with where each figure is from. Nothing is measured here.
"""

import argparse
import sys

import plan
import waves


def main():
    parser = argparse.ArgumentParser(prog="scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    plan.add_arguments(commands.add_parser("plan", help="what each node and each Redis has to bear"))
    waves.add_arguments(commands.add_parser("deploy", help="every node is replaced, one after the other"), True)
    waves.add_arguments(commands.add_parser("crash", help="one node is killed"), False)
    waves.add_arguments(commands.add_parser("outage", help="all streams break at once"), False)
    options = parser.parse_args()
    if options.command == "plan":
        good = plan.run(options)
    elif options.command == "deploy":
        good = waves.run(options, waves.rolling(options))
    else:
        good = waves.run(options, waves.crash if options.command == "crash" else waves.outage)
    sys.exit(0 if good else 1)


main()
