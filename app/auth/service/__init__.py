"""Signing in. What every other part needs of it is here: who asks, and whether a branch is his."""

from app.auth.identity import Identity, NotYourBranch, check_branch

__all__ = ["Identity", "NotYourBranch", "check_branch"]
