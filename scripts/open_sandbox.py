"""`python -m sandbox`, for other containers: it listens on all addresses. On a machine of your own use `make sandbox`,
which listens on localhost only.
"""

from __future__ import annotations

import os
import sys

import sandbox.serve
from sandbox.__main__ import main

if __name__ == "__main__":
    sandbox.serve.HOST = os.environ.get("SANDBOX_HOST", "0.0.0.0")
    main(["serve", *sys.argv[1:]])
