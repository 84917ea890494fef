"""See what a model would be shown of a scan, what that costs, and take a box back from the picture to the scan.

python examples/prepare.py FOLDER OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import medvox
from medvox.data.dicom import choose_series, find_study, read_volume
from medvox.encode.ct import CT_MEDGEMMA_1_5, prepare_ct


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    cost = medvox.plan([folder], model="google/medgemma-1.5-4b-it")
    print("tokens:  ", cost["tokens"]["total"], "of", cost["tokens"]["limit"])
    print("memory:  ", cost["memory_mib"]["total"], "MiB")

    receipt = medvox.prep([folder], out)
    print("pictures:", len(receipt["pictures"]), "by", receipt["preset"]["name"])

    # The same in memory: arrays for a model of your own.
    series, reason = choose_series(find_study(folder))
    images = prepare_ct(read_volume(series), CT_MEDGEMMA_1_5, size=448)
    print("array:   ", images.images.shape, images.images.dtype, "because", reason)

    # A model draws boxes on the padded square; the origin takes them back to pixels of the slice.
    origin = images.origins[0]
    print("box:     ", origin.to_source((100.0, 100.0, 200.0, 200.0)), "on slice", origin.index)


if __name__ == "__main__":
    main()
