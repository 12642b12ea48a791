"""Every form and what a sensible person types into it; `{book}` and the like are filled by whoever sends them."""

from typing import Any, Final

Fields = dict[str, Any]

ACCOUNT: Final = {"email": "new@library.test", "full_name": "New Reader", "locale": "en", "category": "adult"}
COPY: Final = {"barcode": "N-1", "branch": "main", "call_number": "A 1", "shelf_location": "hall", "item_type": "book",
               "price_minor": "100", "note": "new", "version": "1"}  # fmt: skip
TERMS: Final = {"category": "guest", "item_type": "book", "branch": "main", "loan_days": "7", "fine_per_day_minor": "5",
                "version": "1"}  # fmt: skip
BOOK: Final = {
    "title": "T", "subtitle": "S", "edition": "E", "publisher": "P", "place": "L", "year": "1999", "summary": "Text",
    "physical_description": "9 p.", "contributors": "A | editor", "languages": "eng", "isbns": "9780306406157",
    "numbers": "issn 0317-8471", "classifications": "ddc 500", "subjects": "Lamps", "series": "Lights",
    "suppressed": "", "version": "1",
}  # fmt: skip
MONEY: Final = {"amount": "1.00", "note": "cash"}
NOTHING: Final[Fields] = {}

FORMS: Final[dict[str, Fields]] = {
    "/login": {"email": "reader@library.test", "password": "wrong one", "next": "/me", "kept": "a=b"},
    "/login/code": {"mfa_token": "t", "code": "123456", "next": "/me", "kept": "a=b"},
    "/login/passkey": NOTHING, "/login/passkey/options": NOTHING,
    "/register": {"email": "x@library.test", "password": "several plain words", "full_name": "X"},
    "/forgot": {"email": "reader@library.test"}, "/reset": {"token": "t", "password": "several plain words"},
    "/verify": {"token": "t"}, "/language": {"language": "en", "next": "/"}, "/light": {"light": "dark", "next": "/"},
    "/confirm": {"password": "wrong one", "code": "123456", "next": "/me", "kept": "a=b"},
    "/me/profile": {"full_name": "Me", "locale": "en", "home_branch": "main", "keeps_history": "1"},
    "/me/calendar": NOTHING, "/me/loans/renew": NOTHING, "/me/loans/{loan_id}/renew": NOTHING,
    "/me/loans/{loan_id}/claim": NOTHING, "/me/bookings/{booking_id}/cancel": NOTHING,
    "/me/bookings/{booking_id}/suspend": NOTHING, "/me/bookings/{booking_id}/resume": NOTHING,
    "/me/erase": {"card_end": "none"}, "/me/security/sessions/end": NOTHING,
    "/me/security/sessions/{session_id}/end": NOTHING,
    "/me/security/password": {"current_password": "wrong one", "new_password": "several plain words"},
    "/me/security/totp": NOTHING,
    "/me/security/totp/confirm": {"code": "123456", "secret": "ABC", "uri": "otpauth://totp/x"},
    "/me/security/totp/remove": NOTHING, "/me/security/recovery-codes": NOTHING,
    "/me/security/keys/{key_id}/revoke": NOTHING, "/me/security/passkeys": NOTHING,
    "/me/security/passkeys/options": NOTHING, "/me/security/passkeys/{passkey_id}/remove": NOTHING,
    "/desk/branch": {"branch": "main"},
    "/desk/scans": {"code": "B-1", "card": "{card}", "mode": "", "answer": "", "idempotency_key": "k"},
    "/desk/undo": {"scan_id": "{loan_id}", "card": "{card}"},
    "/pull-list": {"code": "B-1"}, "/pull-list/{copy_id}/missing": NOTHING,
    "/imports": NOTHING, "/covers/{book_id}": NOTHING,
    "/cataloguing/new": BOOK, "/cataloguing/{book_id}": BOOK, "/cataloguing/{book_id}/delete": NOTHING,
    "/cataloguing/{book_id}/merge": {"into": "{other_book}"}, "/cataloguing/{book_id}/copies": COPY,
    "/books/{book_id}/bookings": {"pickup_branch": "main", "idempotency_key": "b"},
    "/copies/{copy_id}": COPY, "/copies/{copy_id}/status": {"status": "in_repair", "reason": "torn"},
    "/copies/{copy_id}/delete": NOTHING,
    "/readers/new": ACCOUNT | {"card_number": "777001", "home_branch": "main", "expires_on": "2030-01-01",
                               "role": "reader", "branches": "main"},
    "/readers/{user_id}": ACCOUNT | {"card_number": "777002", "home_branch": "main", "expires_on": "2030-01-01",
                                     "role": "reader", "blocked_reason": "owes", "disabled": "", "version": "1"},
    "/readers/{user_id}/payments": MONEY, "/readers/{user_id}/waivers": MONEY, "/readers/{user_id}/refunds": MONEY,
    "/policies/new": TERMS, "/policies/{policy_id}": TERMS, "/policies/{policy_id}/delete": {"version": "1"},
    "/branches": {"id": "hill", "name": "Hill", "timezone": "UTC"},
    "/branches/{branch_id}": {"name": "Main", "timezone": "UTC", "version": "1"},
    "/branches/{branch_id}/close": {"version": "1"},
    "/branches/{branch_id}/calendar": {"day": "2027-01-01", "weekday": "1", "month": "2027-01", "is_open": "true",
                                       "note": "feast", "version": "1"},
    "/logout": NOTHING,
}  # fmt: skip
# Pages that read their query themselves, beside those whose signature names what they take.
QUERIES: Final[dict[str, tuple[str, ...]]] = {
    "/": ("q", "language", "author", "subject", "year_from", "year_to", "available", "branch", "cursor", "sort",
          "limit"),
    "/login": ("next",), "/confirm": ("next",), "/policies": ("card_number", "copy_barcode"),
}  # fmt: skip
