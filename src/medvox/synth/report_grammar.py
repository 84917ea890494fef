"""Rules for what is dictated in a report: exams, techniques, findings by body region, drugs, vital signs, commands.

Beside ``synth/dictation``, which expands them. Each rule is a list of alternatives separated by `` | ``; a slot
``{name}`` is expanded by the rule of that name, here or there. Spoken form only: lower-case letters, numbers as slots.
"""

from __future__ import annotations

REPORT_RULES: dict[str, str] = {
    "spoken": "{clause} | {clause} period | {clause} period | {clause} period | {clause} period {clause} period"
    " | {clause} period {clause} period | {clause} period {clause} period {clause} period"
    " | {clause} comma {tail} period"
    " | {section} colon {clause} period | {section} colon {clause} period {clause} period"
    " | {clause} period new paragraph {clause} period | {clause} period new line {clause}"
    " | new paragraph {section} colon {clause} period | next paragraph {section} colon {clause} | {section} colon"
    " | {numbered} | {numbered} | {command} | {clause} comma {clause} period | {clause} full stop"
    " | {exam} period {technique} period | {history} period {comparison} period | {clause} semicolon {clause} period",
    "clause": "{chest} | {chest} | {abdomen} | {abdomen} | {head} | {head} | {spine} | {joint} | {vessel} | {breast}"
    " | {obstetric} | {sonography} | {neck} | {radiograph} | {lines_tubes} | {measured} | {measured} | {negative}"
    " | {negative} | {conclusion} | {conclusion} | {recommendation} | {exam} | {technique} | {history} | {comparison}"
    " | {drug} | {drug} | {vitals} | {labs} | {clinic} | {clinic} | {sentence} | {sentence}",
    "section": "findings | impression | technique | indication | comparison | history | clinical history | conclusion"
    " | exam | examination | procedure | lungs | heart | mediastinum | liver | kidneys | spleen | pancreas | bones"
    " | soft tissues | brain | ventricles | bowel | pelvis | assessment | plan | allergies | medications"
    " | vital signs"
    " | recommendation | contrast | addendum",
    "numbered": "number {lumbar} {clause} period | number one {clause} period number two {clause} period"
    " | impression number one {clause} period | next number {clause} period | number {lumbar} colon {clause} period",
    "command": "new paragraph | new line | next line | scratch that | delete that | undo that | next field"
    " | previous field | go to impression | go to findings | go to technique | go to {section}"
    " | insert normal {region}"
    " | insert normal chest | insert template {region} | cap {organ} | all caps {finding} | no caps | caps on"
    " | caps off"
    " | open paren {clause} close paren | open parenthesis {measure} close parenthesis"
    " | open quote {finding} close quote"
    " | {finding} slash {finding} | {finding} hyphen {organ} | question mark | exclamation mark | full stop | period"
    " | comma | colon | semicolon | end of report | end of dictation | sign report | {clause} question mark",
    # exams
    "exam": "{modality_full} of the {body} | {modality_full} of the {body} {contrast}"
    " | {modality_full} {body} {contrast}"
    " | {view} {body} radiograph | {view} of the {body} | ultrasound of the {sono_organ}"
    " | p e t c t from skull base to"
    " mid thigh | c t angiography of the {vessel_name} | m r angiography of the {vessel_name} | bone scan"
    " | bilateral screening mammogram | portable chest x ray | chest x ray two views | c t pulmonary angiogram"
    " | coronary c t angiography | doppler ultrasound of the {one_side} leg | fluoroscopic guided {procedure}"
    " | ultrasound guided {procedure} of the {organ} | c t guided {procedure} of the {organ}",
    "modality_full": "c t | c t | m r i | m r i | computed tomography | magnetic resonance imaging"
    " | high resolution c t"
    " | low dose c t | ultrasound",
    "body": "head | brain | chest | abdomen | pelvis | abdomen and pelvis | chest abdomen and pelvis | neck | face"
    " | sinuses | orbits | cervical spine | thoracic spine | lumbar spine | {one_side} knee | {one_side} shoulder"
    " | {one_side} hip"
    " | {one_side} ankle | {one_side} wrist | {one_side} foot | {one_side} hand | {one_side} elbow"
    " | sacroiliac joints | temporal bones"
    " | prostate | liver | pancreas | kidneys",
    "contrast": "with contrast | without contrast | with and without contrast | with intravenous contrast"
    " | with oral and intravenous contrast | without intravenous contrast | after contrast",
    "view": "frontal | lateral | frontal and lateral | portable | two view | three view | oblique | single view",
    "procedure": "biopsy | drainage | aspiration | injection | lumbar puncture | paracentesis | thoracentesis",
    "technique": "axial images were obtained through the {body} {contrast}"
    " | {count} milliliters of {agent} were given"
    " | contiguous axial images were acquired from the {from_to} | coronal and sagittal reformats were reviewed"
    " | multiplanar {sequence} images of the {body} were obtained | images were acquired in the {phase} phase"
    " | slice thickness was {number} millimeters | the dose length product was {big}"
    " | {sequence} and {sequence} sequences"
    " were performed | the study is limited by {limit} | no contrast was given because of {reason}"
    " | delayed images were obtained at {number} minutes | the patient tolerated the procedure well",
    "agent": "omnipaque | iohexol | isovue | iodixanol | visipaque | gadolinium | gadavist | dotarem"
    " | iodinated contrast",
    "from_to": "lung apices to the adrenal glands | diaphragm to the pubic symphysis | skull base to the vertex"
    " | thoracic inlet to the upper abdomen | foramen magnum to the vertex",
    "sequence": "t one weighted | t two weighted | diffusion weighted | flair | gradient echo | fat saturated"
    " | proton"
    " density | post contrast | stir | susceptibility weighted",
    "phase": "arterial | portal venous | venous | delayed | excretory | nephrographic | unenhanced",
    "limit": "motion | motion artifact | body habitus | metal artifact | low lung volumes | lack of contrast"
    " | patient positioning | beam hardening artifact | respiratory motion",
    "reason": "renal failure | contrast allergy | poor venous access | pregnancy",
    "comparison": "comparison none | no prior studies are available | comparison {modality_full} dated {date}"
    " | compared with the prior {modality} of {date} | comparison is made to {date} | prior {modality} from {year}"
    " | none available for comparison | since the previous study of {date} there is no change",
    "year": "two thousand {count} | twenty {teen} | nineteen ninety {digit} | twenty twenty {digit}",
    "teen": "ten | eleven | twelve | thirteen | fourteen | fifteen | sixteen | seventeen | eighteen | nineteen",
    "history": "{count} year old {person} with {symptom} | {count} year old {person} with history of {disease}"
    " | {count} year old {person} status post {surgery} | history of {disease} and {disease} | {symptom} for {number}"
    " {time_unit} | evaluate for {finding} | concern for {disease} | known {disease} | status post {surgery}"
    " | rule out {disease} | {symptom} after {accident} | staging of {cancer} | follow up of {cancer}"
    " | smoker with {symptom}"
    " | elevated {lab}",
    "time_unit": "days | weeks | months | years | hours",
    "accident": "a fall | a motor vehicle accident | trauma | surgery | a bicycle accident | an assault",
    "surgery": "appendectomy | cholecystectomy | hysterectomy | nephrectomy | splenectomy | lobectomy | mastectomy"
    " | craniotomy | laminectomy | colectomy | gastric bypass | bypass surgery | hip replacement | knee replacement"
    " | liver transplant | renal transplant | prostatectomy | thyroidectomy | stent placement | hernia repair",
    "cancer": "lung cancer | breast cancer | colon cancer | prostate cancer | renal cell carcinoma | hepatocellular"
    " carcinoma | pancreatic cancer | lymphoma | melanoma | ovarian cancer | bladder cancer | thyroid cancer"
    " | leukemia"
    " | squamous cell carcinoma | adenocarcinoma | multiple myeloma | sarcoma | glioblastoma | rectal cancer",
    "disease": "{cancer} | hypertension | diabetes | asthma | cirrhosis | hepatitis | pancreatitis | appendicitis"
    " | diverticulitis | cholecystitis | pyelonephritis | heart failure | atrial fibrillation"
    " | coronary artery disease"
    " | emphysema | chronic obstructive pulmonary disease | pulmonary embolism | deep vein thrombosis | stroke"
    " | epilepsy"
    " | multiple sclerosis | rheumatoid arthritis | osteoporosis | osteoarthritis | sarcoidosis | tuberculosis"
    " | pulmonary fibrosis | hyperlipidemia | anemia | gout | hypothyroidism | chronic kidney disease | sepsis"
    " | endocarditis | osteomyelitis | crohn's disease | ulcerative colitis | parkinson's disease | dementia",
    # findings by region
    "chest": "the lungs are clear | the lungs are clear bilaterally | no focal consolidation pleural effusion or"
    " pneumothorax | the heart is {cardiac} | the cardiomediastinal silhouette is {normal}"
    " | {extent} {opacity} in the"
    " {lung_zone} | {opacity} in the {lung_zone} {suggesting} {chest_dx}"
    " | there is a {measure} {nodule} in the {lung_lobe}"
    " | {nodule} in the {lung_lobe} measures {measure} | {extent} {side_only} pleural effusion"
    " | {side_word} pleural effusion"
    " with adjacent atelectasis | {extent} bibasilar atelectasis | {emphysema} emphysema | no hilar or mediastinal"
    " lymphadenopathy | enlarged {node_place} lymph node measuring {measure}"
    " | the trachea and central airways are patent"
    " | no filling defect in the pulmonary arteries | {extent} pulmonary embolus in the {lung_lobe} | there is a"
    " {extent} pericardial effusion | the esophagus is {normal} | bronchial wall thickening"
    " | {extent} bronchiectasis in"
    " the {lung_lobe} | coronary artery calcifications are {present} | honeycombing at the lung bases | tree in bud"
    " nodules in the {lung_lobe} | mild interlobular septal thickening | granuloma in the {lung_lobe} | there is"
    " tension on the {one_side} with mediastinal shift | the {one_side} hemidiaphragm is elevated"
    " | no pulmonary edema",
    "cardiac": "normal in size | enlarged | mildly enlarged | moderately enlarged | top normal in size"
    " | not enlarged",
    "extent": "small | moderate | large | trace | mild | minimal | extensive | tiny | subtle | severe | marked",
    "opacity": "ground glass opacity | ground glass opacities | consolidation | airspace opacity | patchy opacities"
    " | reticular opacities | atelectasis | scarring | linear scarring | interstitial thickening | infiltrate"
    " | cavitation",
    "lung_zone": "{lung_lobe} | lung bases | both lungs | left lung | right lung | lingula | upper lobes"
    " | lower lobes"
    " | apices | left base | right base | perihilar regions",
    "lung_lobe": "left upper lobe | right upper lobe | left lower lobe | right lower lobe | right middle lobe"
    " | lingula",
    "suggesting": "suggesting | consistent with | compatible with | concerning for | suspicious for | likely"
    " | representing | likely representing | may represent | in keeping with | worrisome for",
    "chest_dx": "pneumonia | aspiration | edema | infection | atelectasis | malignancy | metastatic disease"
    " | fibrosis"
    " | hemorrhage | tuberculosis | an infectious process | organizing pneumonia",
    "nodule": "nodule | solid nodule | part solid nodule | ground glass nodule | calcified nodule | spiculated nodule"
    " | spiculated mass | cavitary lesion | subpleural nodule | perifissural nodule | calcified granuloma",
    "side_only": "left | right | bilateral",
    "emphysema": "centrilobular | paraseptal | mild centrilobular | severe | bullous | upper lobe predominant",
    "node_place": "hilar | mediastinal | subcarinal | paratracheal | axillary | retroperitoneal | inguinal"
    " | mesenteric"
    " | cervical | supraclavicular | aortopulmonary | iliac | periportal | right paratracheal",
    "present": "present | noted | seen | mild | severe | unchanged | stable | again seen",
    "abdomen": "the liver is {liver_state} | no focal {ab_organ_adj} lesion | the gallbladder is {gall}"
    " | the {ab_organ} is"
    " unremarkable | the {ab_organs} are unremarkable | no biliary ductal dilatation | the common bile duct measures"
    " {measure} | {side_only} hydronephrosis | no hydronephrosis or nephrolithiasis | {measure} stone in the {ureter}"
    " | obstructing {measure} calculus in the {ureter} | {cyst} in the {kidney} | {cyst} in the {kidney} measuring"
    " {measure} | the appendix is {appendix} | no bowel obstruction | no free air or free fluid"
    " | no free intraperitoneal"
    " air | {extent} ascites | sigmoid diverticulosis without diverticulitis"
    " | {extent} wall thickening of the {bowel}"
    " | dilated loops of {bowel} measuring up to {measure} | fat stranding around the {bowel}"
    " | the urinary bladder is"
    " {normal} | the prostate is {cardiac} | the uterus and ovaries are {normal}"
    " | {measure} {hepatic} in the {liver_part}"
    " | {hepatic} in segment {liver_segment} | hepatic steatosis | the spleen measures {measure} | splenomegaly"
    " | the {one_side} adrenal gland has a {measure} nodule | {extent} {hernia} hernia | the portal vein is patent"
    " | peripancreatic fat stranding {suggesting} pancreatitis | no retroperitoneal lymphadenopathy"
    " | large stool burden"
    " in the colon | the colon is {colon_state} | transition point in the {place_abdomen}",
    "liver_state": "normal in size and attenuation | normal in size and contour | enlarged | fatty"
    " | nodular in contour"
    " | cirrhotic | heterogeneous | unremarkable | diffusely hypodense",
    "ab_organ_adj": "hepatic | splenic | renal | pancreatic | adrenal | osseous | hepatic or splenic",
    "gall": "surgically absent | unremarkable | distended | contracted | distended with gallstones"
    " | normal without stones",
    "ab_organ": "spleen | pancreas | gallbladder | stomach | duodenum | appendix | bladder | {one_side} kidney"
    " | aorta"
    " | inferior vena cava | {one_side} adrenal gland | cecum | rectum | uterus | {one_side} ovary | small bowel",
    "ab_organs": "spleen and pancreas | kidneys and adrenal glands | adrenal glands | kidneys"
    " | visualized bowel loops"
    " | liver spleen and pancreas | ureters | ovaries | seminal vesicles",
    "ureter": "distal {one_side} ureter | proximal {one_side} ureter | mid {one_side} ureter"
    " | {one_side} ureterovesical junction"
    " | {one_side} renal pelvis | lower pole of the {one_side} kidney | upper pole of the {one_side} kidney"
    " | bladder",
    "one_side": "left | right",
    "cyst": "simple cyst | renal cyst | complex cyst | cyst | hemorrhagic cyst | angiomyolipoma | exophytic mass"
    " | enhancing mass | hypodense lesion | non obstructing stone | parapelvic cyst",
    "kidney": "left kidney | right kidney | {pole} pole of the {one_side} kidney | interpolar {one_side} kidney",
    "pole": "upper | lower",
    "appendix": "normal | not visualized | dilated to {measure} | surgically absent | inflamed",
    "bowel": "small bowel | sigmoid colon | ascending colon | descending colon | transverse colon | terminal ileum"
    " | cecum | rectum | jejunum | ileum | duodenum | stomach | colon",
    "hepatic": "hemangioma | cyst | hypodense lesion | hyperenhancing lesion | metastasis | hypervascular lesion"
    " | ill defined lesion | focal nodular hyperplasia | abscess | hypoattenuating lesion",
    "liver_part": "left hepatic lobe | right hepatic lobe | caudate lobe | hepatic dome | liver"
    " | left lobe of the liver",
    "liver_segment": "one | two | three | four a | four b | five | six | seven | eight",
    "hernia": "hiatal | umbilical | inguinal | ventral | sliding hiatal | fat containing umbilical | incisional",
    "colon_state": "normal | decompressed | unremarkable | distended | collapsed | filled with stool | not dilated",
    "place_abdomen": "right lower quadrant | left lower quadrant | right upper quadrant | left upper quadrant"
    " | pelvis",
    "head": "no acute intracranial hemorrhage | no acute intracranial abnormality | no mass effect or midline shift"
    " | the ventricles and sulci are {normal} | {extent} {bleed} along the {bleed_place}"
    " | {bleed} measuring {measure} in the"
    " {brain_part} | acute infarct in the {territory} territory | restricted diffusion in the {brain_part}"
    " | {extent} chronic"
    " small vessel ischemic changes | the basal cisterns are patent"
    " | midline shift of {number} millimeters to the {one_side}"
    " | gray white differentiation is preserved | no abnormal enhancement | enhancing mass in the {brain_part} with"
    " surrounding edema | mucosal thickening in the {sinus} | the paranasal sinuses are clear"
    " | the mastoid air cells are"
    " clear | the orbits are unremarkable | {extent} cerebral atrophy | hydrocephalus is {present}"
    " | the pituitary gland is"
    " normal | no skull fracture | nondisplaced fracture of the {skull_bone} | {measure} meningioma along the"
    " {bleed_place} | encephalomalacia in the {brain_part} | periventricular white matter hyperintensities | no dural"
    " venous sinus thrombosis | the cerebellar tonsils are normally positioned | hyperdense {vessel_name}"
    " | effacement of the sulci in the {brain_part}",
    "bleed": "subdural hematoma | epidural hematoma | subarachnoid hemorrhage | intraparenchymal hemorrhage"
    " | contusion"
    " | acute subdural hematoma | chronic subdural hematoma | intraventricular hemorrhage | hemorrhagic contusion",
    "bleed_place": "{one_side} convexity | falx | tentorium | {one_side} frontal convexity"
    " | {one_side} temporal lobe | {one_side} parietal"
    " convexity | sylvian fissure | {one_side} cerebral convexity",
    "brain_part": "{one_side} frontal lobe | {one_side} temporal lobe | {one_side} parietal lobe"
    " | {one_side} occipital lobe"
    " | {one_side} basal ganglia | {one_side} thalamus | pons | brainstem | {one_side} cerebellar hemisphere"
    " | corpus callosum"
    " | {one_side} internal capsule | {one_side} caudate nucleus | centrum semiovale",
    "territory": "{one_side} middle cerebral artery | {one_side} posterior cerebral artery"
    " | {one_side} anterior cerebral artery"
    " | basilar artery | left m c a | right m c a",
    "sinus": "{one_side} maxillary sinus | ethmoid sinuses | sphenoid sinus | frontal sinuses | maxillary sinuses",
    "skull_bone": "{one_side} temporal bone | occipital bone | {one_side} zygomatic arch | nasal bones | mandible"
    " | {one_side} orbital"
    " floor | frontal bone | {one_side} parietal bone",
    "spine": "vertebral body heights are maintained | alignment is normal | {extent} disc {disc} at {levels}"
    " | disc {disc} at"
    " {levels} with {extent} {stenosis} | {side_only} paracentral disc {disc} at {levels} | grade {one_two}"
    " {listhesis} of {level_name} on {level_name}"
    " | compression fracture of {level_name} with {count} percent height loss"
    " | the spinal cord is normal in signal | the conus terminates at {level_name}"
    " | {extent} facet arthropathy at {levels}"
    " | no spinal canal stenosis | no acute fracture or malalignment | multilevel degenerative disc disease"
    " | {extent} neural foraminal narrowing at {levels} | schmorl's node at {level_name}"
    " | burst fracture of {level_name}"
    " | the prevertebral soft tissues are normal | ligamentum flavum thickening at {levels}"
    " | annular fissure at {levels}"
    " | the disc spaces are preserved | impingement of the {one_side} {level_name} nerve root",
    "disc": "bulge | protrusion | herniation | extrusion | desiccation | height loss | osteophyte complex",
    "stenosis": "central canal stenosis | spinal stenosis | foraminal stenosis | {one_side} foraminal narrowing"
    " | cord"
    " compression | lateral recess stenosis | bilateral foraminal narrowing",
    "listhesis": "anterolisthesis | retrolisthesis | spondylolisthesis",
    "one_two": "one | two",
    "level_name": "l {lumbar} | t {digit} | c {neck_digit} | t {t_digit} | s one",
    "neck_digit": "two | three | four | five | six | seven",
    "t_digit": "ten | eleven | twelve",
    "levels": "l four l five | l five s one | l three l four | l two l three | c five c six | c six c seven"
    " | c four c five"
    " | c three c four | t eleven t twelve | l one l two | multiple levels | t seven t eight",
    "joint": "{extent} joint effusion | no acute fracture or dislocation | {fracture} fracture of the {bone}"
    " | {fracture} fracture of the {one_side} {bone} | tear of the {ligament} | {tear} tear of the {ligament}"
    " | the {ligament} is"
    " intact | {extent} {joint_name} osteoarthritis | degenerative changes of the {joint_name}"
    " | soft tissue swelling over"
    " the {bone} | bone marrow edema in the {bone} | osteonecrosis of the femoral head"
    " | {extent} tendinosis of the {tendon}"
    " | {tear} tear of the {tendon} | baker's cyst measuring {measure} | the joint spaces are preserved"
    " | chondral thinning"
    " of the {joint_name} | hardware is intact without loosening | avulsion of the {bone}"
    " | loose body in the {joint_name}"
    " | calcaneal spur | anterior dislocation of the {one_side} shoulder | healed fracture of the {one_side} {bone}",
    "fracture": "acute | comminuted | nondisplaced | minimally displaced | oblique | transverse | spiral | impacted"
    " | healing | intra articular | pathologic | stress",
    "bone": "distal radius | clavicle | humerus | femoral neck | tibia | fibula | tibial plateau | patella"
    " | calcaneus"
    " | scaphoid | ulna | greater trochanter | lateral malleolus | fifth metatarsal | pelvis | sacrum | scapula"
    " | sternum"
    " | {ordinal} rib | iliac wing | acetabulum | olecranon | radial head | talus | femur",
    "ligament": "anterior cruciate ligament | posterior cruciate ligament | medial collateral ligament"
    " | medial meniscus"
    " | lateral meniscus | posterior horn of the medial meniscus | glenoid labrum | labrum"
    " | triangular fibrocartilage"
    " | anterior talofibular ligament | lateral collateral ligament",
    "tear": "partial | complete | full thickness | partial thickness | horizontal | complex | radial | bucket handle"
    " | high grade",
    "tendon": "supraspinatus tendon | infraspinatus tendon | subscapularis tendon | achilles tendon | biceps tendon"
    " | patellar tendon | quadriceps tendon | rotator cuff | peroneal tendons | gluteus medius tendon",
    "joint_name": "knee | hip | shoulder | acromioclavicular joint | glenohumeral joint | patellofemoral compartment"
    " | medial compartment | first metatarsophalangeal joint | sacroiliac joint | ankle | wrist",
    "vessel": "the {vessel_name} is patent | {extent} atherosclerotic {plaque} of the {vessel_name} | {count} percent"
    " stenosis of the {vessel_name} | {vessel_name} aneurysm measuring {measure} | no aneurysm or dissection"
    " | occlusion of the {vessel_name} | no deep vein thrombosis in the {one_side} leg | thrombus in the {vein}"
    " | dissection of the"
    " {vessel_name} | fusiform aneurysm of the {vessel_name} | no flow limiting stenosis"
    " | type {a_or_b} aortic dissection"
    " | the {vein} is compressible | the {vein} is patent | endoleak is not seen",
    "vessel_name": "abdominal aorta | thoracic aorta | ascending aorta | {one_side} internal carotid artery"
    " | basilar artery"
    " | {one_side} vertebral artery | superior mesenteric artery | celiac trunk | {one_side} renal artery"
    " | {one_side} common iliac artery"
    " | {one_side} coronary artery | left anterior descending artery | {one_side} femoral artery | popliteal artery"
    " | {one_side} middle cerebral artery | circle of willis",
    "plaque": "calcification | plaque | disease | calcifications",
    "a_or_b": "a | b",
    "vein": "{one_side} femoral vein | popliteal vein | portal vein | {one_side} subclavian vein"
    " | {one_side} internal jugular vein"
    " | superior vena cava | splenic vein | superior mesenteric vein | great saphenous vein",
    "breast": "the breasts are heterogeneously dense | scattered fibroglandular densities | no suspicious mass or"
    " calcification | {measure} irregular mass in the {one_side} breast at {clock} | bi rads category {bi_rads}"
    " | cluster of"
    " {calcs} calcifications in the {one_side} breast | there is no axillary adenopathy"
    " | skin thickening of the {one_side} breast"
    " | the breasts are almost entirely fatty | architectural distortion in the {quadrant} of the {one_side} breast",
    "clock": "{number} o'clock | {digit} o'clock | ten o'clock | two o'clock",
    "bi_rads": "zero | one | two | three | four | five | six | four a",
    "calcs": "pleomorphic | amorphous | coarse | benign | fine linear | punctate",
    "quadrant": "upper outer quadrant | lower inner quadrant | upper inner quadrant | lower outer quadrant",
    "obstetric": "single live intrauterine pregnancy | fetal heart rate is {beats} beats per minute | the placenta is"
    " {placenta} | estimated gestational age is {weeks} weeks and {lumbar} days | crown rump length is {measure}"
    " | amniotic fluid"
    " volume is normal | no adnexal mass | the endometrium measures {measure} | {measure} fibroid in the uterus"
    " | {one_side} ovarian cyst measuring {measure} | cephalic presentation | the cervix is closed",
    "placenta": "anterior | posterior | fundal | low lying | anterior without previa",
    "beats": "one hundred {count} | one hundred forty | one hundred fifty two | {count}",
    "weeks": "six | eight | twelve | twenty | thirty | thirty six | {count}",
    "sonography": "{sono_organ} is normal in {sono} | {extent} shadowing {stone_or} in the {sono_organ}"
    " | no sonographic murphy's"
    " sign | the gallbladder wall measures {number} millimeters"
    " | {measure} hypoechoic nodule in the {one_side} thyroid lobe"
    " | the {one_side} kidney measures {measure} | normal blood flow in the {one_side} testicle"
    " | simple anechoic cyst measuring"
    " {measure} | the post void residual is {big} milliliters | heterogeneous echotexture of the {sono_organ}"
    " | gallstones without wall thickening | increased echogenicity of the liver",
    "sono_organ": "liver | gallbladder | thyroid | {one_side} kidney | spleen | pancreas | bladder | scrotum | pelvis"
    " | abdomen | {one_side} breast | carotid arteries | right upper quadrant",
    "sono": "echogenicity | size | size and echogenicity | echotexture",
    "stone_or": "stones | stone | calculus | calculi | gallstones",
    "neck": "the thyroid gland is {thyroid} | {measure} thyroid nodule in the {one_side} lobe"
    " | no cervical lymphadenopathy"
    " | the parotid glands are {normal} | the airway is patent | {extent} swelling of the {throat}"
    " | the salivary glands are"
    " symmetric | peritonsillar abscess on the {one_side} | necrotic lymph node at level {liver_segment}"
    " | the epiglottis is"
    " normal | mass in the {throat} measuring {measure} | the vocal cords are symmetric",
    "thyroid": "normal | enlarged | heterogeneous | multinodular | surgically absent | atrophic",
    "throat": "larynx | pharynx | tongue base | nasopharynx | oropharynx | {one_side} tonsil"
    " | {one_side} parotid gland | glottis"
    " | piriform sinus | submandibular gland",
    "radiograph": "no acute cardiopulmonary process | no acute osseous abnormality | low lung volumes with {opacity}"
    " | nonspecific bowel gas pattern | no radiopaque foreign body | {extent} scoliosis"
    " | blunting of the {one_side} costophrenic"
    " angle | the pulmonary vasculature is normal | degenerative changes of the thoracic spine"
    " | mild cardiomegaly with"
    " vascular congestion | rotated portable film | air fluid levels in the {bowel} | the bony thorax is intact",
    "lines_tubes": "the endotracheal tube terminates {number} centimeters above the carina"
    " | {one_side} internal jugular line"
    " with tip in the {line_tip} | nasogastric tube in the stomach | {one_side} chest tube is in place"
    " | {one_side} sided pacemaker with"
    " leads in the {line_tip} | the tip of the {tube} is in the {line_tip} | median sternotomy wires are intact"
    " | interval removal of the {tube} | ventriculoperitoneal shunt is in place | {tube} is malpositioned",
    "line_tip": "superior vena cava | right atrium | right ventricle | cavoatrial junction | duodenum | stomach",
    "tube": "picc line | feeding tube | endotracheal tube | chest tube | central line | port catheter | drain"
    " | swan ganz catheter | dialysis catheter",
    "measured": "measuring {measure} | {measure} in greatest dimension | {measure} previously {measure}"
    " | increased from"
    " {measure} to {measure} | decreased from {measure} to {measure}"
    " | {finding} measures {measure} on series {number} image"
    " {count} | measures {decimal} by {decimal} by {decimal} centimeters"
    " | {one_side} {finding} measures {measure} compared to"
    " {measure} | approximately {count} hounsfield units | {count} percent narrowing | volume of {big} milliliters"
    " | standardized uptake value of {decimal} | {number} to {count} millimeters | less than {number} millimeters",
    "decimal": "{digit} point {digit} | {digit} point {digit} | zero point {digit} | {count} point {digit}",
    "big": "{hundred} hundred | {hundred} hundred {count} | {hundred} hundred and {count} | one thousand {count}"
    " | {count}",
    "hundred": "one | two | three | four | five | six | seven | eight | nine",
    "negative": "no {finding} | no evidence of {finding} | no {adjective} {finding} | without {finding} or {finding}"
    " | there is no evidence of {disease} | negative for {finding} | negative for {disease}"
    " | no {finding} is identified"
    " | there is no {finding} or {finding} | no suspicious {finding} | absence of {finding} | no definite {finding}"
    " | {finding} is not seen | no {finding} {finding} or {finding} | the patient denies {symptom}"
    " | no significant change | not significantly changed | {finding} has resolved",
    "conclusion": "{extent} {finding} {suggesting} {disease} | findings {suggesting} {disease}"
    " | {one_side} {finding} | no acute"
    " abnormality | no acute findings | interval {interval} of {finding} | stable {finding} in the {place}"
    " | unchanged"
    " appearance of the {organ} | findings are most consistent with {disease} | {disease} cannot be excluded"
    " | differential includes {disease} and {disease} | progression of {cancer} | no evidence of metastatic disease"
    " | partial response to treatment | {extent} {side_only} {finding} | acute {disease} | probable {disease}"
    " | post surgical changes of {surgery} | new {side_only} {finding} since {date}",
    "interval": "improvement | worsening | resolution | development | increase | decrease | removal",
    "recommendation": "recommend {modality_full} of the {body} in {number} {time_unit}"
    " | follow up {modality} in {number}"
    " months is recommended | recommend clinical correlation | clinical correlation is recommended"
    " | recommend biopsy of the"
    " {finding} | consider {modality_full} for further evaluation | {specialty} consultation is advised"
    " | short interval"
    " follow up is suggested | no follow up is needed | findings were called to doctor {surname} at {clock_time}"
    " | results discussed with doctor {surname} on {date} | tissue sampling is recommended",
    "specialty": "surgical | urology | neurosurgical | oncology | cardiology | orthopedic | pulmonary"
    " | vascular surgery",
    "clock_time": "{number} thirty | {number} a m | {number} p m | {number} fifteen p m | {number} forty five",
    # clinic letters
    "drug": "{drug_name} {dose} {frequency} | {drug_name} {dose} | start {drug_name} {dose} {frequency}"
    " | {drug_name} {dose}"
    " {route} {frequency} | the patient takes {drug_name} and {drug_name} | allergic to {drug_name} | discontinue"
    " {drug_name} | increase {drug_name} to {dose} | continue {drug_name} {frequency} | no known drug allergies"
    " | {drug_name} was held before the procedure | given {dose} of {drug_name}",
    "drug_name": "metformin | lisinopril | amlodipine | atorvastatin | simvastatin | omeprazole | pantoprazole"
    " | aspirin"
    " | clopidogrel | warfarin | heparin | apixaban | rivaroxaban | enoxaparin | insulin | prednisone | prednisolone"
    " | dexamethasone | ibuprofen | acetaminophen | morphine | fentanyl | oxycodone | tramadol | gabapentin"
    " | amoxicillin"
    " | ceftriaxone | vancomycin | ciprofloxacin | azithromycin | doxycycline | metronidazole | furosemide"
    " | spironolactone"
    " | hydrochlorothiazide | metoprolol | carvedilol | bisoprolol | losartan | valsartan | ramipril | digoxin"
    " | amiodarone"
    " | levothyroxine | salbutamol | albuterol | tiotropium | sertraline | citalopram | fluoxetine | quetiapine"
    " | lorazepam | midazolam | propofol | ketamine | lidocaine | epinephrine | methotrexate | tamoxifen | letrozole"
    " | cisplatin | carboplatin | paclitaxel | rituximab | pembrolizumab | nivolumab | adalimumab | allopurinol"
    " | colchicine | tamsulosin | finasteride | levetiracetam | phenytoin | carbamazepine | valproate | sumatriptan"
    " | ondansetron | ranitidine | famotidine | glipizide | empagliflozin | semaglutide | alendronate | vitamin d",
    "dose": "{tens_number} milligrams | {hundred} hundred milligrams | {digit} milligrams | {decimal} milligrams"
    " | {count}"
    " units | {digit} grams | {count} micrograms | {number} milliliters | {number} tablets"
    " | {hundred} hundred micrograms",
    "tens_number": "ten | twenty | twenty five | thirty | forty | fifty | sixty | seventy five | eighty | ninety"
    " | fifteen",
    "frequency": "daily | once daily | twice daily | twice a day | three times a day | every {number} hours"
    " | at bedtime"
    " | as needed | every morning | weekly | for {number} days | with meals",
    "route": "by mouth | orally | intravenously | subcutaneously | topically | i v | by inhalation",
    "vitals": "blood pressure {pressure} | blood pressure is {pressure} | heart rate {rate} | pulse {rate}"
    " | temperature"
    " {temperature} | oxygen saturation {saturation} percent on room air | respiratory rate {breaths}"
    " | weight {count}"
    " kilograms | weight {hundred} hundred {count} pounds | height {count} inches"
    " | body mass index {count} point {digit}"
    " | vital signs are stable | blood pressure {pressure} heart rate {rate} | saturation {saturation} percent"
    " | pain score {number} out of ten",
    "pressure": "one hundred {tens_number} over {tens_number} | one twenty over eighty | one {count} over {count}"
    " | {count} over {count} | one hundred and {count} over {count} | one forty over ninety",
    "rate": "{count} | {count} beats per minute | one hundred {count} | seventy two | eighty | sixty four",
    "temperature": "thirty {temp_digit} point {digit} | ninety eight point six"
    " | ninety {temp_digit} point {digit} degrees"
    " | one hundred one point {digit} | thirty {temp_digit} point {digit} degrees celsius",
    "temp_digit": "six | seven | eight | nine",
    "saturation": "ninety {temp_digit} | ninety {digit} | eighty {temp_digit} | one hundred",
    "breaths": "twelve | fourteen | sixteen | eighteen | twenty | twenty two | {count}",
    "labs": "{lab} {count} | {lab} {decimal} | {lab} is {decimal} | {lab} of {big} | {lab} is elevated"
    " | {lab} is normal"
    " | {lab} and {lab} are within normal limits | {lab} increased to {decimal}"
    " | {lab} {decimal} milligrams per deciliter"
    " | {lab} {count} units per liter | low {lab}",
    "lab": "hemoglobin | hematocrit | white blood cell count | platelets | sodium | potassium | creatinine | glucose"
    " | bilirubin | albumin | calcium | c reactive protein | troponin | lactate | p s a | i n r | d dimer"
    " | lipase | ferritin"
    " | cholesterol | hemoglobin a one c | t s h | alkaline phosphatase | magnesium | urea | triglycerides | e g f r"
    " | sedimentation rate",
    "clinic": "the patient presents with {symptom} and {symptom}"
    " | {person} with {symptom} for {number} {time_unit} | the"
    " abdomen is soft and {tender} | the lungs are clear to auscultation | regular rate and rhythm | no {murmur}"
    " | cranial"
    " nerves are intact | strength is {digit} out of five in the {one_side} {limb}"
    " | past medical history of {disease} and"
    " {disease} | the patient was referred by doctor {surname} | follow up in clinic in {number} {time_unit} | denies"
    " {symptom} {symptom} or {symptom} | the wound is healing well"
    " | return to the emergency department if {symptom} worsens"
    " | {count} pack year smoking history | alert and oriented | in no acute distress | mother had {cancer}"
    " | father died of"
    " {disease} at age {count} | admitted for {disease} | discharged home in stable condition"
    " | she underwent {surgery} in"
    " {year} | he has a history of {disease} | she reports {symptom} and {symptom}"
    " | {extent} edema of the {one_side} {limb}",
    "tender": "nontender | tender | non distended | tender in the {place_abdomen} | nontender without guarding",
    "murmur": "murmur | murmurs rubs or gallops | wheezes or crackles | edema | rash | clubbing or cyanosis",
    "limb": "arm | leg | upper extremity | lower extremity | hand | foot | ankle | calf | thigh",
}  # fmt: skip
