"""An account by its definition, for tests to compare the ledger with; it imports nothing from the application."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Refused:
    code: str


@dataclass(frozen=True)
class Charge:
    amount: int
    paid: int = 0
    waived: int = 0
    reversed: int = 0
    refunded: int = 0

    @property
    def open(self) -> int:
        return self.amount - self.paid - self.waived - self.reversed + self.refunded


@dataclass(frozen=True)
class Account:
    charges: tuple[Charge, ...] = field(default=())

    @property
    def balance(self) -> int:
        return sum(charge.open for charge in self.charges)

    def foresee(self, step: tuple[str, int | None, int | None]) -> "Account | Refused":
        """The account after a step, or why it is refused."""
        verb, amount, index = step
        if verb == "charge":
            return Account((*self.charges, Charge(amount or 0)))
        if (
            index is not None
            and not self.charges
            and (verb == "reverse" or not self._too_much(verb, amount or 0, index))
        ):
            return Refused("unknown_charge")
        if verb == "reverse":
            return self._reverse((index or 0) % len(self.charges), amount)
        return self._too_much(verb, amount or 0, index) or self._settle(verb, amount or 0, index)

    def _too_much(self, verb: str, amount: int, index: int | None) -> Refused | None:
        """Nobody pays more than he owes or gets more than he is owed; a charge may be forgiven whatever else is."""
        if verb == "refund":
            return Refused("exceeds_credit") if amount > -self.balance else None
        if verb == "pay" or index is None:
            return Refused("exceeds_balance") if amount > self.balance else None
        return None

    def _reverse(self, index: int, amount: int | None) -> "Account | Refused":
        charge = self.charges[index]
        left = charge.amount - charge.waived - charge.reversed
        if amount is not None and amount > left:
            return Refused("exceeds_charge")
        return self._with(index, replace(charge, reversed=charge.reversed + (left if amount is None else amount)))

    def _settle(self, verb: str, amount: int, index: int | None) -> "Account | Refused":
        order = range(len(self.charges)) if index is None else [index % len(self.charges)]
        column = {"pay": "paid", "waive": "waived", "refund": "refunded"}[verb]
        account, rest = self, amount
        for position in order:
            charge = account.charges[position]
            share = min(rest, max(0, -charge.open if verb == "refund" else charge.open))
            account = account._with(position, replace(charge, **{column: getattr(charge, column) + share}))
            rest -= share
        if rest:
            return Refused("exceeds_credit" if verb == "refund" else "exceeds_charge")
        return account

    def _with(self, index: int, charge: Charge) -> "Account":
        return Account((*self.charges[:index], charge, *self.charges[index + 1 :]))
