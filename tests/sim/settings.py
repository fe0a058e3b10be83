"""What a simulation may be told from outside; printed with each failure, so that it can be run again."""

from __future__ import annotations

import os

# Where chance begins, and how many minutes of calls are simulated on random networks.
SEED = int(os.environ.get("SIM_SEED", "1"))
MINUTES = int(os.environ.get("SIM_MINUTES", "10000"))

AGAIN = f"SIM_SEED={SEED} SIM_MINUTES={MINUTES}"
