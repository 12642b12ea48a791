#!/usr/bin/env python3
"""Loads the demonstration library: `library seed` under the name that deployments look for."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.cli import main  # found by the line above

if __name__ == "__main__":
    main(["seed", *sys.argv[1:]])
