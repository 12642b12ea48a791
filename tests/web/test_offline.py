"""The desk without a connection: scans wait in sight, and go out in order when it is back."""

import re

from playwright.sync_api import expect

from tests.web.conftest import Open
from tests.web.service import Service
from tests.web.test_journeys import book_of, scan


def test_scans_made_without_a_connection_are_kept_in_sight_and_arrive_in_order(demo: Service, open_as: Open) -> None:
    desk = open_as("librarian.river", ignored="ERR_INTERNET_DISCONNECTED")
    codes = demo.barcodes(6, branch="river")[2:]
    scan(desk, "2000000000099")
    expect(desk.locator("#mode")).to_contain_text("Issue to")
    desk.context.set_offline(True)
    for code in codes:
        scan(desk, code)
    expect(desk.locator("#kept")).to_contain_text(f"No connection. {len(codes)} scans are kept here")
    expect(desk.locator("#kept li")).to_have_text([re.compile(rf"^\d\d:\d\d {code}$") for code in codes])
    expect(desk.locator("#tape li")).to_have_count(0)
    desk.context.set_offline(False)
    expect(desk.locator("#tape li")).to_have_count(len(codes))
    expect(desk.locator("#kept")).to_be_hidden()
    newest_first = [re.compile(re.escape(book_of(demo, code)[1])) for code in reversed(codes)]
    expect(desk.locator("#tape li")).to_have_text(newest_first)
    expect(desk.locator("#scan")).to_be_focused()
