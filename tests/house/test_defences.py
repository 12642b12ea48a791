"""What the shipped files promise of security without a server running: TLS, who holds which secret, what pages keep."""

import re
from pathlib import Path

import yaml

from tests.house.source import ROOT

PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "app" / "web" / "templates").rglob("*.html")}
OURS = sorted((ROOT / "app" / "static").glob("*.js")) + sorted((ROOT / "app" / "static" / "web").glob("*.js"))
# Lists, the data of an element whose names the script checked, and an object of the browser with fixed names.
LISTS = {"names", "dataset", "response", "dialog", "input"}
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in OURS}
# Settings of a device, which tell nothing of anybody.
KEPT_BY_BROWSERS = {"scanner-gap", "sound"}
HOLDERS = {
    "database_url_migrate": {"migrate"},
    "db_superuser_password": {"db"},
    "db_migrate_password": {"db"},
    "db_replicator_password": {"db", "replica"},
    "secret_key": {"api", "api-green", "scheduler", "migrate", "backup", "restore"},
    "encryption_key": {"api", "api-green", "scheduler"},
    "database_url": {"api", "api-green", "scheduler", "backup", "restore"},
}


def test_the_proxy_speaks_new_tls_only_and_agrees_on_keys_with_forward_secrecy() -> None:
    text = (ROOT / "nginx" / "snippets" / "tls.conf").read_text(encoding="utf-8")
    said = dict(re.findall(r"^(ssl_\w+) (.+);$", text, re.MULTILINE))
    assert said["ssl_protocols"] == "TLSv1.2 TLSv1.3"
    ciphers = said["ssl_ciphers"].split(":")
    assert ciphers
    assert all(re.fullmatch(r"ECDHE-(ECDSA|RSA)-(AES\d+-GCM-SHA\d+|CHACHA20-POLY1305)", name) for name in ciphers)
    again = [
        path
        for path in _proxy_files()
        if path.name != "tls.conf" and re.search(r"ssl_(protocols|ciphers)", path.read_text())
    ]
    assert again == []


def test_each_secret_is_given_to_those_who_need_it() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for secret, holders in HOLDERS.items():
        assert {name for name, service in services.items() if secret in service.get("secrets", [])} == holders, secret


def test_every_password_is_masked_and_left_to_password_managers() -> None:
    fields = [
        found for text in PAGES.values() for found in re.findall(r'parts\.field\("\w*password".+?\}\) *\}\}', text)
    ]
    assert len(fields) >= 5
    for field in fields:
        assert 'type="password"' in field, field
        assert re.search(r'"autocomplete": "(current|new)-password"', field), field
    assert not [name for name, text in (PAGES | SCRIPTS).items() if "paste" in text]


def test_pages_need_no_plugin() -> None:
    assert len(PAGES) > 30
    assert not [name for name, text in PAGES.items() if re.search(r"<(object|embed|applet)\b", text)]


def test_browsers_keep_settings_of_the_device_only() -> None:
    text = "".join(SCRIPTS.values())
    assert set(re.findall(r'localStorage\.[gs]etItem\("([^"]+)"', text)) == KEPT_BY_BROWSERS
    assert text.count("localStorage") == len(re.findall(r'localStorage\.[gs]etItem\("', text))
    assert not re.search(r"sessionStorage|indexedDB|document\.cookie|caches\.", text)


def test_our_scripts_are_strict_and_put_nothing_on_the_document() -> None:
    assert len(SCRIPTS) >= 4
    for name, text in SCRIPTS.items():
        assert text.startswith('"use strict";'), name
        assert not re.search(r"(?<![=!])[=!]=(?!=)|\bvar ", text), f"{name}: === and const or let"
        assert not re.search(r"\bdocument\.\w+ ?=(?!=)", text), f"{name}: a variable on the document"


def test_what_is_looked_up_by_a_name_from_outside_has_no_prototype() -> None:
    for name, text in SCRIPTS.items():
        looked_up = set(re.findall(r"(\w+)\[[a-z]\w*(?:\.\w+)?\](?! ?=)", text)) - LISTS
        for table in looked_up:
            assert re.search(rf"const {table} = {{\s*__proto__: null", text), f"{name}: {table}"
        assert not re.search(r"__proto__(?!: null)|\.prototype|for \(const \w+ in ", text), name


def test_no_service_can_change_what_was_logged() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["logging"]["driver"] == "json-file", f"{name}: its output is the engine's, in no file of its own"
        written = [volume for volume in service.get("volumes", []) if not re.search(r":ro(,|$)", volume)]
        assert not [volume for volume in written if volume.startswith(("/", "."))], f"{name} writes to the host"


def test_the_parts_inside_meet_on_networks_that_lead_nowhere() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    inside = {name for name, network in compose["networks"].items() if network.get("internal")}
    for name in ("db", "replica", "pgbouncer", "redis", "api", "api-green", "migrate"):
        assert set(compose["services"][name]["networks"]) <= inside, name
    opened = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert opened.pop("nginx") == ["80:8080", "443:8443"]
    assert all(port.startswith("127.0.0.1:") for ports in opened.values() for port in ports), opened


def _proxy_files() -> list[Path]:
    return sorted((ROOT / "nginx").rglob("*.conf"))
