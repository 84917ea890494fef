"""Text <-> token ids with the model's own ``tokenizer.json``; content can never become a control token.

Stage two of the path. Control tokens (turn marks, image marks, thinking marks) belong to the scaffold that
``prompt.py`` builds. Where a user's text, a transcript or a file contains their spelling, it is encoded as plain text.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import Tokenizer

from medvox.errors import SetupError
from medvox.types import TokenIds

_UNUSED = re.compile(r"<unused\d+>$")


class TextTokenizer:
    """The tokenizer of a Gemma-class checkpoint folder."""

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        try:
            layout = json.loads(path.read_text(encoding="utf-8"))
            full = Tokenizer.from_str(json.dumps(layout))
            added = layout["added_tokens"]
            layout["added_tokens"] = [token for token in added if not _is_control(token)]
            layout["post_processor"] = None
            plain = Tokenizer.from_str(json.dumps(layout))
        except FileNotFoundError:
            raise SetupError(
                f"the model folder {folder.name} has no tokenizer.json",
                fix="Download the complete model folder, including tokenizer.json.",
                code="E_TOKENIZER_MISSING",
            ) from None
        except Exception as error:
            raise SetupError(
                f"tokenizer.json in {folder.name} cannot be read",
                fix="Download the model folder again; tokenizer.json is damaged.",
                code="E_TOKENIZER_BROKEN",
            ) from error
        self._full = full
        self._plain = plain
        self.control_ids = frozenset(token["id"] for token in added if _is_control(token))

    def token_id(self, token: str) -> int:
        """The id of a control token by its spelling."""
        found = self._full.token_to_id(token)
        if found is None:
            raise SetupError(
                f"the tokenizer has no token {token}",
                fix="Use the tokenizer.json that belongs to the model.",
                code="E_TOKENIZER_TOKEN",
            )
        return int(found)

    def encode_content(self, text: str) -> TokenIds:
        """Ids of plain text. The result never holds a control id, whatever the text says."""
        ids: TokenIds = self._plain.encode(text, add_special_tokens=False).ids
        if self.control_ids.isdisjoint(ids):
            return ids
        return [i for letter in text for i in self._letter(letter)]

    def decode(self, ids: TokenIds) -> str:
        """The text of ids, control tokens included in their spelling."""
        text: str = self._full.decode(ids, skip_special_tokens=False)
        return text

    def _letter(self, letter: str) -> TokenIds:
        ids: TokenIds = self._plain.encode(letter, add_special_tokens=False).ids
        return [i for i in ids if i not in self.control_ids]


def _is_control(token: dict[str, object]) -> bool:
    return bool(token.get("special")) or bool(_UNUSED.match(str(token["content"])))
