"""Flask with the books in memory."""

import json
import os
from pathlib import Path
from typing import Any

from flask import Flask

app = Flask(__name__)
_page = json.loads(Path(os.environ["BENCH_BODY"]).read_bytes())


@app.get("/books")
def books() -> Any:
    return _page
