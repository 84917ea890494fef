"""Names of drugs that no training text of ours holds: international names of about 2015 on, and made ones like them.

Read by ``speech_hotwords.py``, which also says whether a run's training texts do hold one all the same. Weights are
chosen on the one list and reported on the other.
"""

_DEV = """
anifrolumab apalutamide benralizumab berotralstat brolborurol brolucizumab budirtequine capivasertib capmatinib
cucanstene danmoziparin darolutamide denvuvane duditrol eptinezumab fircavane gelnanzine golcarrol lasmiditan
lavulfenone lecanemab lefamulin lumuvane midilazide minlibimol mirikizumab nibrepoceptin nirsevimab ocrelizumab
odevixibat omaveloxolone osimertinib pexidartinib revefenacin risankizumab roxadustat selumetinib
senbolmycin tapinarof tivozanib umbralisib vallemol vibrirol vonoprazan vorasidenib vutrisiran zaldurlazide
zanbriquine zinbriquine
"""
_TEST = """
abemaciclib acalabrutinib alirocumab alpelisib amivantamab atogepant avacopan bargotamol baricitinib batrimycin
bempedoic bezlotoxumab bimekizumab binarvane bobegorrol brertrivane brirdarzevane brodalumab cegenparin cemiplimab
colvonparin curvadine dalrultrol delramycin difelikefalin doravirine dostarlimab dupilumab durvalumab efgartigimod
erenumab ertugliflozin evolocumab fapaceptin fedratinib fezolinetant firbavelceptin fremanezumab funbanlazide
gingurulzine guselkumab ibrexafungerp idarucizumab isatuximab lavanceptin linzagolix lorlatinib lusutrombopag
maralixibat mavacamten merbadendine midutamol mintruputrol mitapivat mosunetuzumab munnostene naldemedine
napamilfenone narrunlazide narzarrol nelzunlazide neratinib nirmatrelvir olutasidenib pennanzolone penuceptin
pirtobrutinib pitolisant ponesimod povepril quizartinib rafilceptin razulazide relugolix remdesivir resmetirom
rimegepant ripretinib sacendipril satralizumab sunatamol sunpudine tabalceptin tenapanor teplizumab
tezepelumab tinazolone tofersen tofonzolone tromatrol trunreselvane tucatinib tunbraceptin upadacitinib vibegron
zanubrutinib zavegepant zetolzuvane zingurzolone
"""
DEV, TEST = tuple(_DEV.split()), tuple(_TEST.split())
