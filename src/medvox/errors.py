"""Errors that medvox raises on purpose: what went wrong, and what to do about it.

Every error has a stable code for programs and a fix for people. Messages name files, tags and numbers, never patient
text. The exit code that the command line returns belongs to the branch of the error.
"""

from __future__ import annotations

from functools import partial
from typing import Any


class MedvoxError(Exception):
    """An error with a stable code and a fix.

    Attributes:
        code: stable identifier, for example ``E_DICOM_SPACING_MISSING``.
        message: what went wrong, free of patient text.
        fix: what the user can do about it.
        exit_code: the process exit code of the command line.
    """

    exit_code = 1
    default_code = "E_MEDVOX"

    def __init__(self, message: str, *, fix: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.code = code or self.default_code

    def __reduce__(self) -> tuple[Any, ...]:
        """How the error travels between processes; its fix and code go with it."""
        return partial(type(self), fix=self.fix, code=self.code), (self.message,)

    def as_dict(self) -> dict[str, str]:
        """The error as the contract's JSON object."""
        return {"code": self.code, "message": self.message, "fix": self.fix}


class InputError(MedvoxError):
    """An input file is missing, broken, ambiguous or outside what medvox can read safely."""

    exit_code = 3
    default_code = "E_INPUT"


class UsageError(MedvoxError):
    """The call itself does not make sense: contradictory options, or a choice is needed."""

    exit_code = 2
    default_code = "E_USAGE"


class SetupError(MedvoxError):
    """A model, a package or a file of the installation is missing."""

    exit_code = 4
    default_code = "E_SETUP"


class BudgetError(MedvoxError):
    """The request does not fit the context, the memory or the limits."""

    exit_code = 5
    default_code = "E_BUDGET"


class CheckError(MedvoxError):
    """A check refused the request or the answer."""

    exit_code = 6
    default_code = "E_CHECK"


class ModelError(MedvoxError):
    """A model gave something unusable, such as non-finite numbers."""

    default_code = "E_MODEL"


class ParseError(MedvoxError):
    """The model's text does not have the promised form; the raw text is kept by the caller."""

    default_code = "E_PARSE"


class ServeError(MedvoxError):
    """The HTTP layer refused or failed a request."""

    default_code = "E_SERVE"
