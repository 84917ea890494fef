"""A small tokenizer in Gemma's layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvox.encode.text import TextTokenizer
from medvox.train.chat_vocabulary import learn_chat_vocabulary
from medvox.train.export_vlm import chat_corpus


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "tokenizer.json").write_text(learn_chat_vocabulary(chat_corpus(), 700), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(tokenizer_folder)
