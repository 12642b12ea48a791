"""A passkey added, used to sign in and removed, by clicks, with the browser's own authenticator."""

import re

from playwright.sync_api import Page, expect

from tests.web.conftest import Open
from tests.web.service import Service

AUTHENTICATOR = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


def sign_out(page: Page) -> None:
    page.goto("/me")
    page.get_by_role("button", name="Sign out").first.click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_a_reader_adds_a_passkey_signs_in_with_it_and_takes_it_away(demo: Service, open_as: Open) -> None:
    page = open_as("reader2")
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    authenticator = device.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})["authenticatorId"]
    page.goto("/me/security")
    page.click("#passkey")
    expect(page.locator("ul.slips b", has_text="My device")).to_be_visible()
    sign_out(page)
    page.goto("/login")
    page.click("#passkey")
    page.wait_for_url(f"{demo.address}/me")
    expect(page.locator("h1")).to_have_text("My books")
    page.goto("/me/security")
    page.get_by_role("button", name=re.compile("Remove.*My device")).click()
    expect(page.locator("ul.slips b", has_text="My device")).to_have_count(0)
    sign_out(page)
    page.goto("/login")
    page.click("#passkey")
    expect(page.locator("#passkey-error")).to_be_visible()  # the library doesn't know it any more
    device.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": authenticator})
