"""Every page, by who may open it; `{reader}`, `{job}` and the like are filled by whoever opens them."""

from typing import Final

STRANGER: Final = (
    "/", "/?q=island&language=eng", "/?q=qqqzzz", "/books/17", "/login", "/register", "/forgot", "/reset?token=x",
    "/verify?token=x", "/nowhere",
)  # fmt: skip
READER: Final = (
    "/me",
    "/me/profile",
    "/me/charges",
    "/me/history",
    "/me/views",
    "/me/security",
    "/confirm",
    "/books/17",
)
ADMIN: Final = (
    "/desk", "/desk?card=2000000000040", "/desk/slip?card=2000000000040", "/hold-shelf", "/pull-list", "/readers",
    "/readers/new", "{reader}", "/cataloguing", "/cataloguing?q=emma", "/cataloguing/new", "/cataloguing/17",
    "/cataloguing/17/copies", "/cataloguing/17/merge?into=2", "/copies/1", "/labels?book=17", "/imports",
    "/administration", "/policies", "/policies?card_number=2000000000040&copy_barcode={barcode}", "/policies/1",
    "/policies/new", "/branches", "/branches/main", "/audit", "/statistics",
)  # fmt: skip
