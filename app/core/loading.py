"""Modules that are loaded when they are first used, since many a process never does.

Another stands in for the real one until somebody asks it for a name. The first who does waits for it.
"""

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Final

__all__ = ["defer", "obstore", "pymarc", "redis", "segno"]

# Modules of ours, which others import from their package: `from app.auth import ceremony`.
_OWN: Final = (
    "app.auth.ceremony",  # passkeys: 4 MiB and 50 ms of a start, measured
    "app.imports.lookup",  # ISBN_LOOKUP_URLS: 2 MiB, 25 ms
)


def defer() -> None:
    """Put stand-ins where those of ours belong, before anybody imports them."""
    for name in _OWN:
        package, _, own = name.rpartition(".")
        if name not in sys.modules:
            module = _stand_in(name)
            setattr(sys.modules[package], own, module)


def _stand_in(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.loader is not None, name
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


if TYPE_CHECKING:
    import obstore
    import pymarc
    import segno

    import redis
else:  # `import redis` would load it: it looks into the stand-in; `from app.core.loading import redis` doesn't
    obstore = _stand_in("obstore")  # files in a folder or a bucket: 5 MiB, 10 ms
    pymarc = _stand_in("pymarc")  # MARC: 4 MiB, 10 ms
    redis = _stand_in("redis")  # REDIS_URL: 6 MiB, 55 ms
    segno = _stand_in("segno")  # the picture of a second factor's secret: 1 MiB, 5 ms
