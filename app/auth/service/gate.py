"""The gate before signing in: how often a password, a code or a mail may be asked for.

Only what comes from an attacker's own address is turned away. What anybody could do to an account, or to the whole
library, from elsewhere only makes signing in ask for one proof more: nobody can lock somebody else out.
"""

from typing import Final

from app.core.errors import TooManyRequests
from app.core.limits import Limit, Limits
from app.core.proxies import network_of
from app.core.security import digest

FIVE_MINUTES: Final = 5 * 60
HOUR: Final = 60 * 60

ACCOUNT_AND_ADDRESS: Final = Limit("login", 10, FIVE_MINUTES)
NETWORK: Final = Limit("login-network", 50, FIVE_MINUTES)
ACCOUNT: Final = Limit("login-account", 30, FIVE_MINUTES)
OVERALL: Final = Limit("login-overall", 1_000, FIVE_MINUTES)
CODES: Final = Limit("codes", 5, FIVE_MINUTES)
MAILS_TO: Final = Limit("mails-to", 3, HOUR)
MAILS_FROM: Final = Limit("mails-from", 20, HOUR)
TAKEN_ADDRESSES: Final = Limit("taken-addresses", 5, HOUR)


class TooManyLogins(TooManyRequests):
    code, detail = "too_many_logins", "Too many tries to sign in from here; wait a little."


class TooManyCodes(TooManyRequests):
    code, detail = "too_many_codes", "Too many codes were tried; wait a little."


class TooManyMails(TooManyRequests):
    code, detail = "too_many_mails", "Too many mails were asked for from here; wait a while."


class TooManyRegistrations(TooManyRequests):
    code, detail = "too_many_registrations", "Too many registrations from here met a taken address; wait a while."


async def admit_login(limits: Limits, *, email: str, host: str) -> bool:
    """Count a try to sign in; whether it needs one proof more than the password.

    Raises:
        TooManyLogins: from this address to this account, or from this network to any.
    """
    account = _name(email)
    (await limits.take(ACCOUNT_AND_ADDRESS, f"{account}@{_address(host)}")).refuse(TooManyLogins)
    (await limits.take(NETWORK, network_of(host, ipv4_bits=24))).refuse(TooManyLogins)
    by_account = await limits.take(ACCOUNT, account)
    overall = await limits.take(OVERALL, "all")
    return not (by_account.is_allowed and overall.is_allowed)


async def login_succeeded(limits: Limits, *, email: str, host: str) -> None:
    """Give back what the try took: who knows the password is no guesser, however often he signs in."""
    account = _name(email)
    await limits.give_back(ACCOUNT_AND_ADDRESS, f"{account}@{_address(host)}")
    await limits.give_back(NETWORK, network_of(host, ipv4_bits=24))
    await limits.give_back(ACCOUNT, account)
    await limits.give_back(OVERALL, "all")


async def admit_code(limits: Limits, *, name: str) -> None:
    """Count a try of a short code, by account or challenge.

    Raises:
        TooManyCodes.
    """
    (await limits.take(CODES, name)).refuse(TooManyCodes)


async def admit_own_password(limits: Limits, *, user_id: str) -> None:
    """Count a try to prove one's own password while signed in: a stolen token must not become a password.

    Raises:
        TooManyLogins.
    """
    (await limits.take(ACCOUNT_AND_ADDRESS, f"own:{user_id}")).refuse(TooManyLogins)


async def admit_mail(limits: Limits, *, email: str, host: str) -> bool:
    """Count a request for a mail; whether the mail should go out. The answer to the client is the same either way.

    Raises:
        TooManyMails: from this address, to whomever.
    """
    (await limits.take(MAILS_FROM, _address(host))).refuse(TooManyMails)
    return (await limits.take(MAILS_TO, _name(email))).is_allowed


async def admit_registration(limits: Limits, *, host: str) -> None:
    """Count a registration as one that met a taken address; `registration_succeeded` gives it back.

    Raises:
        TooManyRegistrations.
    """
    (await limits.take(TAKEN_ADDRESSES, _address(host))).refuse(TooManyRegistrations)


async def registration_succeeded(limits: Limits, *, host: str) -> None:
    await limits.give_back(TAKEN_ADDRESSES, _address(host))


def _name(email: str) -> str:
    return digest(email.strip().casefold())


def _address(host: str) -> str:
    return network_of(host, ipv4_bits=32)
