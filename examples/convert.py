"""Write every series below a path as NIfTI, and see which could not be written and why.

python examples/convert.py FOLDER OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import medvox


def main() -> None:
    for entry in medvox.convert_all(Path(sys.argv[1]), Path(sys.argv[2])):
        if entry["file"] is None:
            print("not written:", entry["series"], entry["error"]["code"], entry["error"]["fix"])
            continue
        print("written:    ", Path(entry["file"]).name, entry["shape"])
        for flag in entry["flags"]:
            print("note:       ", flag["code"], flag["text"])


if __name__ == "__main__":
    main()
