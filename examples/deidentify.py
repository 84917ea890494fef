"""Write copies of DICOM files without identifiers, and see what was held back.

python examples/deidentify.py FOLDER OUT KEY_FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

import medvox


def main() -> None:
    source, target, key = map(Path, sys.argv[1:4])
    report = medvox.deid(source, target, key_file=key)
    print("files:    ", report["counts"])
    for file in report["files"]:
        if file["status"] == "blocked":
            print("held back:", file["input"], file["code"])
    print(report["statement"])


if __name__ == "__main__":
    main()
