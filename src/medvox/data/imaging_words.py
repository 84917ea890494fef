"""Words that describe an image or an examination and name nobody.

Used by ``deidentify``: the Clean Descriptors Option keeps these words of a description and drops all others, and
``leftovers`` does not take them for somebody's name. Knows no data set.

Source: the method is that of DICOM PS3.15 E.3.5, note 2.
"""

from __future__ import annotations

import re
from typing import Final

IMAGING_WORDS: Final = frozenset(
    """
    abdomen abdominal acetabulum acq acquisition adc adrenal air ankle anterior antero aorta aortic ap apex apical
    arm arterial arteries artery asl attenuation average avg ax axial axilla axis b0 bilateral biliary bladder body
    bolus bone bowel brachial brain brainstem breast breath bronchus calcaneus calcium cardiac care carotid cc ce
    cerebral cerebellum cervical chest cine circle clavicle clips coccyx colon color colour column contrast cor
    coronal coronary cranial cranium cross ct cta ctp cube cxr dce deep delay delayed derived diaphragm diffusion
    dir dixon dorsal dose dti dual dwi dynamic echo elbow endo enhanced epi equilibrium esophagus expiration
    extremities extremity eye eyes face facial fast fat fatsat femoral femur fiesta field fine finger fingers flair
    flash flow fluid fmri foot forearm frontal fs fse fspgr full functional gad gadolinium gallbladder gre gradient
    guided hand haste head heart helical hepatic high hip hips hr humerus iliac inspiration intracranial inversion
    iso isotropic iterative joint kidney kidneys knee knees kub l lao large lat lateral lava left leg legs liver
    localiser localizer loc long low lower lumbar lumbosacral lung lungs magnetisation magnetization magnitude mammo
    mammogram mammography mandible map maps mean medial mediastinum medium mid mip mlo mm mono monitoring mosaic
    mouth mpr mprage mr mra mri mrcp mrv multi myelogram nasal native navigator neck non normal oblique opposed
    optic orbit orbits out ovary pa pancreas paranasal parallel patella pc pca pd pelvic pelvis perfusion pet phase
    pituitary plain plan planning portal portable post posterior pre premonitoring prone prostate pulmonary quick
    radius rao rapid recon reconstruction reformat regular renal rest resting retro rib ribs right routine run
    sacral sacrum sag sagittal scan scanogram scapula scout screening se seg segmentation series set sharp short
    shoulder sinus sinuses skin skull slab slice slices small soft spair spine spin spinal spiral spleen spgr
    sternum stir stomach stress subtraction supine surview survey susceptibility swi t1 t1w t2 t2w temporal test
    thick thigh thin thoracic thorax thyroid tibia tif tilt time tissue toe toes tof topogram trace tracking trachea
    transversal transverse tse turbo ultrasound upper ureter urinary uterus vascular vein veins venous ventral
    venogram ventricle vertebra vessel vibe view views volume washout water wb weighted whole window with without wo
    wrist xray zygoma 2d 3d 4d
    """.split()  # noqa: SIM905  # a paragraph of words reads better than a list of strings
)
_TOKEN = re.compile(r"[^\W_]+|[+/\-]")
_TITLE = re.compile(r"(?i)\b(?:dr|mr|mrs|ms|miss|prof|doctor|professor|sir)\b\.?\s*[^\W\d_]+")


def clean_description(text: str) -> str:
    """What remains of a description when only words of imaging are kept, in their order."""
    kept = [token for token in _TOKEN.findall(_TITLE.sub(" ", text)) if token.lower() in IMAGING_WORDS]
    return " ".join(kept)
