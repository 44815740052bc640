"""What it costs to parse the DAG file.

python -m benchmarks.dag_cost modules FILE      one line of JSON: the modules that parsing a DAG file loads,
                                                    and its CPU time
"""

from __future__ import annotations

import json
import runpy
import sys
import time

#: What must not be loaded by parsing, beyond what Airflow loads itself.
HEAVY = ("pandas", "pyarrow", "numpy", "tenable", "boto3", "botocore", "msgspec", "requests")


def main() -> None:
    """Parse a DAG file as the DAG processor does, and report what that loaded."""
    began = time.process_time()
    runpy.run_path(sys.argv[2])
    loaded = sorted(sys.modules)
    heavy = [name for name in HEAVY if name in sys.modules]
    print(json.dumps({"cpu": time.process_time() - began, "modules": len(loaded), "heavy": heavy, "names": loaded}))


if __name__ == "__main__":
    main()
