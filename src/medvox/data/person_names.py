"""Common given names and surnames, for ``deidentify_notes``: a short list from the top ranks of the US census.

Names that are also words of a note ("Young", "May", "Rose") stand apart: they count only beside another sign of a name.
"""

from __future__ import annotations

from typing import Final

GIVEN_NAMES: Final = frozenset(
    """
    aaron adam alan albert alexander alice amanda amber amy andrea andrew angela ann anna anne anthony antonio
    arthur ashley barbara benjamin bernard beth betty beverly brandon brenda brian bruce bryan carl carlos carol
    caroline carolyn catherine charles cheryl christian christina christine christopher cindy craig crystal cynthia
    daniel danielle david deborah debra dennis diana diane donald donna doris dorothy douglas dylan edward eileen
    elizabeth emily emma eric erin ethan eugene evelyn frances frank gabriel gary george gerald gloria gregory
    hannah harold harry heather helen henry howard isabella jack jacob jacqueline james jane janet janice jason jean
    jeffrey jennifer jeremy jerry jesse jessica jesus joan joe john johnny jonathan jordan jose joseph joshua joyce
    juan judith judy julia julie justin karen katherine kathleen kathryn keith kelly kenneth kevin kimberly kyle
    larry laura lauren lawrence linda lisa logan lois louis louise luis madison margaret maria marie marilyn martha
    martin mary matthew megan melissa michael michelle miguel monica nancy natalie nathan nicholas nicole noah
    olivia pamela patricia patrick paul paula peter philip phillip rachel ralph randy raymond rebecca richard robert
    roger ronald roy russell ruth ryan samantha samuel sandra sara sarah scott sean sharon shirley sophia stephanie
    stephen steven susan teresa theresa thomas timothy tyler valerie vincent virginia walter wanda wayne william
    zachary
    """.split()  # noqa: SIM905  # a paragraph of names reads better than a list of strings
)
SURNAMES: Final = frozenset(
    """
    adams aguilar alexander allen alvarez anderson andrews armstrong arnold bailey baker barnes bennett bryant burke
    burns butler campbell carlson carpenter carroll castillo castro chavez clark cole coleman collins contreras
    cooper crawford cruz cunningham daniels davidson davis delgado diaz dixon duncan edwards elliott ellis estrada
    evans ferguson fernandez fisher fletcher flores foster fuller garcia gardner garza gibson gilbert gomez gonzales
    gonzalez gordon graham griffin guerrero guzman hamilton hansen hanson harper harris harrison hawkins henderson
    henry hernandez herrera hicks hoffman holmes howard hudson hughes hunter jackson jacobs jenkins jensen jimenez
    johnson johnston jones jordan kelley kennedy kim knight larson lawrence lawson lewis lopez lynch maldonado
    marshall martinez mason matthews mccoy mcdonald medina mendez mendoza meyer miller mitchell montgomery morales
    moreno morgan morris morrison munoz murphy murray myers nelson nguyen nichols obrien oliver olson ortega ortiz
    owens palmer parker patel patterson payne pena perez perkins perry peters peterson phillips pierce porter powell
    ramirez ramos reed reyes reynolds richards richardson riley rios rivera roberts robertson robinson rodriguez
    rogers romero ruiz russell ryan salazar sanchez sanders sandoval santiago santos schmidt schneider schultz scott
    simmons simpson smith snyder soto spencer stephens stevens stewart sullivan taylor thomas thompson torres tran
    tucker turner valdez vargas vasquez vazquez wagner walker wallace walsh warren washington watkins watson weaver
    webb weber welch wells wheeler wilson wong wright
    """.split()  # noqa: SIM905
)
AMBIGUOUS: Final = frozenset(
    """
    april art august bell berry bishop black boyd brooks brown carr carter chase christian cole cross crystal day
    dean dixon ellis faith fields fisher fox foster frank french garden gene grace grant gray green hall harper hart
    hay heath henry hill holland hope hunt hunter iris ivy james jean jordan joy june king knight lane long love
    madison mark martin mason may miles moore north page pace park parker penny pierce pope porter price ray reed
    rice rich rose royal sage scott sharp short shields small snow spencer stone summer swan terry wade walker ward
    warren washington watts weaver wells west white will wolf wood woods wright young
    """.split()  # noqa: SIM905
)
