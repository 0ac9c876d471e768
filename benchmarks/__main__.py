"""Run every measurement and print one table, or one JSON object a line with ``--json``."""

import argparse
import json
import sys

from benchmarks.account import measure_account
from benchmarks.custody import measure_custody
from benchmarks.identity import measure_identity
from benchmarks.idle import measure_idle
from benchmarks.intake import measure_intake
from benchmarks.lock_path import measure_lock_path
from benchmarks.row_append import measure_row_append
from benchmarks.row_found import measure_row_found
from benchmarks.row_gateway import measure_boot, measure_turn
from benchmarks.store import measure_store


def main() -> int:
    """Run the measurements that were named, or all of them."""
    measurements = {
        "account": measure_account,
        "custody": measure_custody,
        "store": measure_store,
        "intake": measure_intake,
        "idle": measure_idle,
        "identity": measure_identity,
        "lock_path": measure_lock_path,
        "row_append": measure_row_append,
        "row_found": measure_row_found,
        "turn": measure_turn,
        "boot": measure_boot,
    }
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*measurements, []], help="which (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    for name in options.name or measurements:
        print(f"# {name} ...", file=sys.stderr, flush=True)
        for row in measurements[name]():
            if options.json:
                print(json.dumps({"measurement": name, **row}))
            else:
                print(f"{name:8} " + "  ".join(f"{key}={value}" for key, value in row.items()))
    return 0


sys.exit(main())
