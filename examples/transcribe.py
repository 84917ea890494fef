"""Turn a recording into text, word by word.

python examples/transcribe.py RECORDING
"""

from __future__ import annotations

import sys
from pathlib import Path

import medvox


def main() -> None:
    transcript = medvox.transcribe(Path(sys.argv[1]))
    print(transcript.text)
    for word in transcript.words:
        print(f"{word.start_s:6.2f} {word.end_s:6.2f} s  {word.confidence:.2f}  {word.word}")
    for flag in transcript.flags:
        print("note:", flag.code, flag.text)


if __name__ == "__main__":
    main()
