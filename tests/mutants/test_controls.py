"""Controls switched off: for each, the test that docs/asvs.md or docs/security.md names for it must fail then."""

import re
import sys
from pathlib import Path

import pytest

from tests import evidence
from tests.mutants.planting import ROOT, Mutant, chosen, noticed, plant, seed_of, stands_once

AUTH, SECURITY, UNIT, UPLOADS = (
    "tests/integration/auth", "tests/integration/security", "tests/unit/security", "tests/integration/uploads",
)  # fmt: skip
MATRIX = f"{SECURITY}/test_matrix.py::test_every_route_lets_in_whom_the_matrix_says_and_nobody_else"
# In each run; the pipeline switches all of them off each night.
SAMPLE = 10
SQLITE = ("-k", "not postgresql and not bucket")

CONTROLS = {
    "roles grant permissions": Mutant(
        "app/api/deps.py", "        if not who.may(permission):\n", "        if who is None:\n", MATRIX
    ),
    "rows are scoped by who asks": Mutant(
        "app/users/queries.py",
        "return or_(own, User.role == Role.READER) if self.sees_readers else own",
        "return true()",
        MATRIX,
    ),
    "a second factor is required of a role": Mutant(
        "app/api/deps.py",
        "if who.is_person and who.role in settings.mfa_required_roles and not who.has_second_factor:",
        "if False:",
        f"{AUTH}/test_second_factor.py::test_a_role_that_needs_a_second_factor_can_do_nothing_else_without",
    ),
    "a sign-in waits for the app's code": Mutant(
        "app/api/credentials.py",
        "    if is_enrolled:\n        return await _wait(user, desk, by_mail=False)\n",
        "",
        f"{AUTH}/test_second_factor.py::test_with_an_app_the_password_alone_signs_nobody_in",
    ),
    "a code of the app works once": Mutant(
        "app/auth/service/factors.py",
        "TotpSecret.last_step < step)",
        "TotpSecret.last_step <= step)",
        f"{AUTH}/test_second_factor.py::test_a_code_of_the_app_works_once_also_of_two_at_the_same_time",
    ),
    "a recovery code works once": Mutant(
        "app/auth/service/factors.py",
        "RecoveryCode.user_id == user_id)\n        .returning(RecoveryCode.digest)\n    )\n",
        "RecoveryCode.user_id == user_id)\n    )\n    statement = select(RecoveryCode.digest)\n",
        f"{AUTH}/test_second_factor.py::test_a_recovery_code_works_once",
    ),
    "wrong codes are counted": Mutant(
        "app/auth/service/factors.py",
        ".values(tries_left=Challenge.tries_left - 1)",
        ".values(tries_left=Challenge.tries_left)",
        f"{AUTH}/test_second_factor.py::test_five_wrong_codes_end_the_sign_in",
    ),
    "what is encrypted is bound to its purpose": Mutant(
        "app/core/vault.py",
        'found.protected.get("sub") == purpose and ',
        "",
        f"{AUTH}/test_second_factor.py::test_the_vault_reads_by_old_keys_and_for_one_purpose_only",
    ),
    "a mailed code is no second factor": Mutant(
        "app/auth/service/factors.py",
        "        fits = not await is_enrolled(session, user_id=user_id)\n",
        "        fits = True\n",
        f"{AUTH}/test_second_factor.py::test_a_mailed_code_never_stands_for_a_second_factor",
    ),
    "a waiting sign-in expires": Mutant(
        "app/auth/service/factors.py",
        "Challenge.kind == MFA, Challenge.expires_at > now,",
        "Challenge.kind == MFA,",
        f"{AUTH}/test_second_factor.py::test_an_expired_sign_in_is_over",
    ),
    "a common password is refused": Mutant(
        "app/auth/passwords.py",
        "    if is_common(password):\n        raise PasswordTooCommon\n",
        "",
        f"{AUTH}/test_passwords.py::test_a_password_that_is_easily_guessed_is_refused",
    ),
    "a new password signs everybody else out": Mutant(
        "app/auth/service/accounts.py",
        "await sessions.end_all(session, user_id=user.id, keep=keep_session)",
        "assert keep_session is None or keep_session",
        f"{AUTH}/test_passwords.py::test_a_changed_password_signs_out_everybody_else",
    ),
    "a mailed token expires": Mutant(
        "app/auth/service/accounts.py",
        "MailToken.purpose.in_(purposes), MailToken.expires_at > now)",
        "MailToken.purpose.in_(purposes))",
        f"{AUTH}/test_passwords.py::test_a_mailed_token_expires_and_fits_one_purpose_only",
    ),
    "a spent refresh token ends its family": Mutant(
        "app/auth/service/sessions.py",
        "    await close_session(session, session_id=row.id)\n",
        "",
        f"{AUTH}/test_sessions.py::test_a_spent_token_shown_later_ends_the_family_and_tells_the_user",
    ),
    "an ended session is gone at once": Mutant(
        "app/auth/service/sessions.py",
        "    await session.execute(delete(Session).where(Session.id == session_id))\n",
        "    await session.flush()\n",
        f"{AUTH}/test_sessions.py::test_logout_is_gone_at_once",
    ),
    "an unused session ends": Mutant(
        "app/auth/service/sessions.py",
        "    return idle if ends_at is None else min(ends_at, idle)",
        "    return idle if ends_at is None else ends_at",
        f"{AUTH}/test_sessions.py::test_a_session_ends_for_idleness_and_finally",
    ),
    "one ends one's own sessions only": Mutant(
        "app/auth/service/sessions.py",
        "delete(Session).where(Session.id == session_id, Session.user_id == user_id)",
        "delete(Session).where(Session.id == session_id)",
        f"{AUTH}/test_sessions.py::test_one_sees_and_ends_ones_own_sessions_only",
    ),
    "a key is narrowed by its scopes": Mutant(
        "app/auth/identity.py",
        "and (self.scopes is None or permission in self.scopes)",
        "and (self.scopes is None or bool(permission))",
        f"{AUTH}/test_keys.py::test_a_key_does_what_its_scopes_say_and_no_more",
    ),
    "a key asks for a fresh proof": Mutant(
        "app/api/deps.py",
        "if who.verified_at is None or now - who.verified_at > CONFIRMED_FOR:",
        "if who.verified_at is None and now is None:",
        f"{AUTH}/test_keys.py::test_making_a_key_asks_for_a_fresh_proof",
    ),
    "a disabled account is signed out": Mutant(
        "app/auth/service/sessions.py",
        '.where(Session.expires_at > bindparam("now"), User.disabled_at.is_(None))',
        '.where(Session.expires_at > bindparam("now"))',
        f"{AUTH}/test_users.py::test_a_disabled_account_is_signed_out_at_once",
    ),
    "unknown fields are refused": Mutant(
        "app/core/schemas.py",
        'model_config = ConfigDict(strict=True, extra="forbid", frozen=True)',
        'model_config = ConfigDict(strict=True, extra="ignore", frozen=True)',
        f"{AUTH}/test_users.py::test_mass_assignment_is_impossible",
    ),
    "scripts can't read the cookie": Mutant(
        "app/api/cookies.py",
        "        httponly=True,\n        samesite",
        "        samesite",
        f"{AUTH}/test_cookies.py::test_the_cookie_is_out_of_reach_for_scripts_and_neighbours",
    ),
    "another site's form changes nothing": Mutant(
        "app/api/cookies.py",
        "        raise CrossSite\n",
        "        pass\n",
        f"{AUTH}/test_cookies.py::test_a_page_knows_its_visitor_and_refuses_changes_from_other_sites",
    ),
    "passwords are tried ten times": Mutant(
        "app/auth/service/gate.py",
        'ACCOUNT_AND_ADDRESS: Final = Limit("login", 10, FIVE_MINUTES)',
        'ACCOUNT_AND_ADDRESS: Final = Limit("login", 1_000, FIVE_MINUTES)',
        f"{AUTH}/test_gate.py::test_ten_wrong_passwords_from_one_address_are_enough",
    ),
    "a refusal is logged": Mutant(
        "app/api/errors.py",
        '        log.info("refused", code=error.code',
        '        log.debug("nothing", code=error.code',
        f"{AUTH}/test_logs.py::test_a_refusal_is_logged_with_where_it_came_from_and_why",
    ),
    "every answer says nosniff": Mutant(
        "app/core/exchange.py",
        '    b"x-content-type-options": b"nosniff",\n',
        "",
        f"{SECURITY}/test_edge.py::test_each_security_header_is_set_once_on_every_answer",
    ),
    "origins are exact": Mutant(
        "app/core/cors.py",
        "        if origin not in self._origins:\n",
        "        if origin is None:\n",
        f"{SECURITY}/test_edge.py::test_another_origin_is_let_in_by_its_exact_spelling",
    ),
    "an address is limited": Mutant(
        "app/api/limiter.py",
        "        if taken.is_allowed:\n",
        "        if taken.is_allowed or not taken.is_allowed:\n",
        f"{SECURITY}/test_edge.py::test_an_address_is_told_its_limit_and_turned_away_beyond_it",
    ),
    "what takes too long is given up": Mutant(
        "app/core/middleware.py",
        "                if not deadline.expired():\n                    raise\n",
        "                if deadline.expired():\n                    raise\n",
        f"{SECURITY}/test_edge.py::test_what_takes_too_long_is_given_up",
    ),
    "only a proxy says who the client is": Mutant(
        "app/core/proxies.py",
        "if client is None or not self.trusts(client[0]):",
        "if client is None:",
        f"{UNIT}/test_proxies.py::test_only_a_trusted_proxy_says_whose_address_it_is",
    ),
    "a token is for this audience": Mutant(
        "app/core/security.py",
        ' or claims["aud"] != AUDIENCE',
        "",
        f"{UNIT}/test_tokens.py::test_a_forged_token_is_refused",
    ),
    "a token lives as long as it says": Mutant(
        "app/core/security.py",
        ' <= now.timestamp() < claims["exp"]:',
        ' <= now.timestamp() < claims["exp"] + 10**9:',
        f"{UNIT}/test_tokens.py::test_a_token_lives_as_long_as_the_setting_says",
    ),
    "production refuses DEBUG": Mutant(
        "app/core/production.py",
        "    if settings.debug:\n",
        "    if settings.debug is None:\n",
        f"{UNIT}/test_production.py::test_production_refuses_and_says_what_to_set",
    ),
    "details are for operators": Mutant(
        "app/api/v1/endpoints/health.py",
        "if not may_see and not _is_operator(request, settings, private=False):",
        "if may_see is None:",
        "tests/integration/api/test_shell.py::test_details_are_for_staff_and_this_machine",
    ),
    "a file is one thing only": Mutant(
        "app/uploads/content.py",
        "    if _is_also_another(data, media_type):\n",
        "    if not media_type:\n",
        f"{UPLOADS}/test_hostile_files.py::test_a_file_that_is_two_things_is_refused",
    ),
    "pixels are bounded": Mutant(
        "app/uploads/reencode.py",
        "if image.width * image.height > MAX_PIXELS:",
        "if image.width * image.height > 100 * MAX_PIXELS:",
        f"{UPLOADS}/test_hostile_files.py::test_a_malformed_file_is_refused_with_its_own_code",
    ),
    "a file's name is no path": Mutant(
        "app/uploads/service.py",
        "        raise UnsafeFileName\n",
        "        return\n",
        f"{UPLOADS}/test_hostile_files.py::test_a_name_that_is_a_path_is_refused",
    ),
    "a download is run by no browser": Mutant(
        "app/api/v1/endpoints/uploads.py",
        '        "Content-Security-Policy": SANDBOX,\n',
        "",
        f"{UPLOADS}/test_uploads.py::test_what_leaves_is_an_attachment_that_no_browser_runs",
    ),
    "a document is its owner's": Mutant(
        "app/uploads/queries.py",
        "    return or_(own, Upload.kind == Kind.DOCUMENT) if sees_documents else own",
        "    return or_(own, Upload.kind == Kind.DOCUMENT)",
        f"{UPLOADS}/test_uploads.py::test_a_document_is_its_owners_and_looks_at_it_are_written_down",
    ),
    "an erased reader's words are emptied": Mutant(
        "app/erasure/service.py",
        "    await _forget_words(session, user)\n",
        "",
        "tests/integration/erasure/test_erased_reader.py::test_no_table_file_or_log_leads_to_an_erased_reader",
    ),
    "drivers write no values into the log": Mutant(
        "app/core/logging.py",
        "max(logging.WARNING, root.level)",
        "logging.NOTSET",
        "tests/integration/erasure/test_erased_reader.py::test_no_table_file_or_log_leads_to_an_erased_reader",
    ),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", chosen(CONTROLS, SAMPLE, metafunc.config))


def test_the_named_test_notices_that_a_control_is_off(
    name: str, tmp_path: Path, postgres_url: str, pytestconfig: pytest.Config
) -> None:
    sys.stdout.write(f"seed {seed_of(pytestconfig)}\n")
    plant(CONTROLS[name], tmp_path)
    assert noticed(CONTROLS[name], tmp_path, postgres_url, *SQLITE) == "", f"nobody noticed that this is off: {name}"
    evidence.keep(
        "controls", "switched off and noticed", **{name: CONTROLS[name].noticed_by.rpartition("::")[2]},
        seed=seed_of(pytestconfig),
    )  # fmt: skip


def test_every_switch_still_fits_the_code_and_is_named_in_the_documents() -> None:
    text = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("asvs.md", "security.md", "privacy.md")
    )
    bound = set(re.findall(r"`(tests/[^`]+)`", text))
    for name, control in CONTROLS.items():
        assert stands_once(control), f"{control.file} has changed; write the switch '{name}' anew"
        assert control.noticed_by in bound, f"{name}: no document names {control.noticed_by}"
    assert len(CONTROLS) >= 40
