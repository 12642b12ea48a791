"""The letters that signing in sends, in English and Russian. Tokens stand behind `#`, which no server or log sees."""

from typing import Final

from app.core.mail import Letter
from app.users.models import User

_TEXTS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "register": {
        "en": (
            "Confirm your address",
            (
                "Somebody, most likely you, asked for an account at the library with this address.\n\n"
                "Open this link within a day to confirm it:\n{link}\n\n"
                "If it was not you, do nothing: no account is made.\n"
            ),
        ),
        "ru": (
            "Подтвердите адрес",
            (
                "Кто-то, скорее всего вы, попросил завести учётную запись в библиотеке на этот адрес.\n\n"
                "Чтобы подтвердить, откройте ссылку в течение суток:\n{link}\n\n"
                "Если это были не вы, ничего не делайте: запись не появится.\n"
            ),
        ),
    },
    "already_registered": {
        "en": (
            "You have an account already",
            (
                "Somebody, most likely you, asked for an account at the library with this address."
                " There is one already.\n\n"
                "If you have forgotten the password, ask for a new one:\n{link}\n"
            ),
        ),
        "ru": (
            "У вас уже есть учётная запись",
            (
                "Кто-то, скорее всего вы, попросил завести учётную запись в библиотеке на этот адрес. Она уже есть.\n\n"
                "Если вы забыли пароль, попросите новый:\n{link}\n"
            ),
        ),
    },
    "verify_email": {
        "en": ("Confirm your address", "Open this link within a day to confirm your address:\n{link}\n"),
        "ru": ("Подтвердите адрес", "Чтобы подтвердить адрес, откройте ссылку в течение суток:\n{link}\n"),
    },
    "address_change_begun": {
        "en": (
            "Your address is being changed",
            (
                "Your library account is about to get another address. If that was not you,"
                " change your password at once:\n{link}\n"
            ),
        ),
        "ru": (
            "Адрес вашей записи меняется",
            "У вашей учётной записи в библиотеке скоро сменится адрес. Если это не вы, сразу смените пароль:\n{link}\n",
        ),
    },
    "reset_password": {
        "en": (
            "A new password",
            (
                "Open this link within half an hour to choose a new password:\n{link}\n\n"
                "If you did not ask for it, do nothing: your password stays as it is.\n"
            ),
        ),
        "ru": (
            "Новый пароль",
            (
                "Чтобы выбрать новый пароль, откройте ссылку в течение получаса:\n{link}\n\n"
                "Если вы об этом не просили, ничего не делайте: пароль останется прежним.\n"
            ),
        ),
    },
    "sign_in_code": {
        "en": (
            "Your code",
            (
                "Somebody has tried to sign in to your library account many times."
                " If it is you now, enter this code within ten minutes:\n\n{link}\n\n"
                "If it is not you, do nothing, and choose another password soon.\n"
            ),
        ),
        "ru": (
            "Ваш код",
            (
                "В вашу учётную запись в библиотеке много раз пытались войти."
                " Если сейчас это вы, введите код в течение десяти минут:\n\n{link}\n\n"
                "Если это не вы, ничего не делайте и вскоре смените пароль.\n"
            ),
        ),
    },
    "password_changed": {
        "en": (
            "Your password was changed",
            (
                "The password of your library account was changed and all other devices were signed out.\n\n"
                "If that was not you, choose a new one at once:\n{link}\n"
            ),
        ),
        "ru": (
            "Пароль изменён",
            (
                "Пароль вашей учётной записи в библиотеке изменён, на остальных устройствах выполнен выход.\n\n"
                "Если это не вы, сразу выберите новый:\n{link}\n"
            ),
        ),
    },
    "key_ends": {
        "en": (
            "A key of yours ends soon",
            (
                "In two weeks or less a program will no longer get into your library account: its key ends.\n\n"
                "If you still need it, make a new key, give it to the program, and revoke the old one:\n{link}\n"
            ),
        ),
        "ru": (
            "Скоро закончится ваш ключ",
            (
                "Не позже чем через две недели программа перестанет входить в вашу учётную запись в библиотеке:"
                " её ключ закончится.\n\n"
                "Если он ещё нужен, создайте новый, передайте его программе и отзовите старый:\n{link}\n"
            ),
        ),
    },
    "refresh_token_reused": {
        "en": (
            "You were signed out for your safety",
            (
                "A sign-in of your library account was used from two places, as happens when it has been stolen."
                " It has been ended.\n\nSign in again; if you did not expect this, change your password too:\n{link}\n"
            ),
        ),
        "ru": (
            "Вы вышли из системы ради безопасности",
            (
                "Одним входом в вашу учётную запись воспользовались из двух мест,"
                " как бывает при краже. Этот вход закрыт.\n\n"
                "Войдите снова; если вы этого не ожидали, смените и пароль:\n{link}\n"
            ),
        ),
    },
}


def confirm_registration(email: str, *, locale: str, address: str, token: str) -> Letter:
    return _letter("register", email, locale, f"{address}/verify#token={token}")


def already_registered(user: User, *, address: str) -> Letter:
    return _letter("already_registered", user.email, user.locale, f"{address}/forgot")


def verify_email(email: str, *, locale: str, address: str, token: str) -> Letter:
    return _letter("verify_email", email, locale, f"{address}/verify#token={token}")


def address_change_begun(user: User, *, address: str) -> Letter:
    return _letter("address_change_begun", user.email, user.locale, f"{address}/forgot")


def reset_password(user: User, *, address: str, token: str) -> Letter:
    return _letter("reset_password", user.email, user.locale, f"{address}/reset#token={token}")


def sign_in_code(user: User, *, code: str) -> Letter:
    return _letter("sign_in_code", user.email, user.locale, code)


def password_changed(user: User, *, address: str) -> Letter:
    return _letter("password_changed", user.email, user.locale, f"{address}/forgot")


def refresh_token_reused(user: User, *, address: str) -> Letter:
    return _letter("refresh_token_reused", user.email, user.locale, f"{address}/forgot")


def key_ends(user: User, *, address: str) -> Letter:
    return _letter("key_ends", user.email, user.locale, f"{address}/me/security")


def _letter(name: str, email: str, locale: str, link: str) -> Letter:
    texts = _TEXTS[name]
    subject, text = texts.get(locale, texts["en"])
    return Letter(to=email, subject=subject, text=text.format(link=link))
