"""One thread for each of several processes of pytest-xdist: more would fight over the cores."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
