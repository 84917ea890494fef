"""Ask a question about a CT series and see what the answer rests on.

python examples/ask_ct.py FOLDER "Which body region does this CT show?"
"""

from __future__ import annotations

import sys
from pathlib import Path

import medvox


def main() -> None:
    folder, question = Path(sys.argv[1]), sys.argv[2]
    answer = medvox.ask(question, folder)
    print("answer:     ", answer.answer)
    print("label:      ", answer.label)
    print("probability:", answer.probability)
    for box in answer.boxes:
        print("box:        ", box.label, box.image, box.box_xyxy)
    for flag in answer.flags:
        print("note:       ", flag.code, flag.text)
    print("receipt:    ", ", ".join(answer.receipt))


if __name__ == "__main__":
    main()
