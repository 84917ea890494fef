"""Ask a question about a CT series by voice; one that was heard unsurely is asked only after you have confirmed it.

python examples/ask_by_voice.py RECORDING FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import medvox
from medvox.answer import accept_unsure
from medvox.errors import CheckError


def main() -> None:
    transcript = medvox.transcribe(Path(sys.argv[1]))
    print("heard:  ", transcript.text)
    try:
        answer = medvox.ask(transcript, Path(sys.argv[2]))
    except CheckError as refusal:
        print("refused:", refusal.message)
        if input("Is this what you asked? [y/N] ").lower() != "y":
            return
        answer = medvox.ask(accept_unsure(transcript), Path(sys.argv[2]))
    print("answer: ", answer.answer)
    for flag in answer.flags:
        print("note:   ", flag.code, flag.text)


if __name__ == "__main__":
    main()
