"""Codes of HL7v2 tables and ISO lists as canonical codes. Pure data and lookups.

Guarantee: a code that is not known is never guessed: it is given back as it was sent, or as "" where the
canonical field allows only a closed list. Sources: HL7 tables 0001, 0002, 0004, 0190, 0200, 0201, 0202, 0278;
FHIR R4 value sets; ISO 639, ISO 3166-1.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType


def _pairs(text: str) -> dict[str, str]:
    """`code=value; code=value`."""
    return {code: value for code, _, value in (item.strip().partition("=") for item in text.split(";"))}


GENDER = {
    "M": "male",
    "F": "female",
    "O": "other",
    "A": "other",
    "X": "other",
    "U": "unknown",
    "N": "unknown",
}
GENDER |= {word.upper(): word for word in ("male", "female", "other", "unknown")}

MARITAL = {
    "A": "Separated",
    "B": "Unmarried",
    "C": "Common law",
    "D": "Divorced",
    "E": "Legally separated",
    "G": "Living together",
    "I": "Interlocutory",
    "M": "Married",
    "N": "Annulled",
    "O": "Other",
    "P": "Domestic partner",
    "R": "Registered domestic partner",
    "S": "Single",
    "T": "Unreported",
    "U": "Unknown",
    "W": "Widowed",
}

ENCOUNTER_CLASS = {"E": "EMER", "I": "IMP", "O": "AMB", "P": "PRENC"}

NAME_USE = {
    "L": "official",
    "R": "official",
    "D": "usual",
    "M": "maiden",
    "N": "nickname",
    "BAD": "old",
    "NOUSE": "old",
    "MSK": "anonymous",
    "NAV": "temp",
    "TEMP": "temp",
}
NAME_RANK = {"L": 0, "R": 1, "": 2, "D": 3, "C": 4, "B": 5}
"""Which of several names is the name: official, registered, untyped, customary, then any other."""

ADDRESS_USE = {
    "H": "home",
    "P": "home",
    "L": "home",
    "M": "home",
    "B": "work",
    "O": "work",
    "C": "temp",
    "V": "temp",
    "BI": "billing",
    "BA": "old",
}
ADDRESS_RANK = {"H": 0, "P": 1, "L": 2, "": 3, "M": 4, "C": 5, "BI": 6, "O": 7, "B": 8, "BA": 99}

PHONE_USE = {"PRN": "home", "ORN": "home", "WPN": "work", "VHN": "temp", "PRS": "mobile"}
PHONE_SYSTEM = {
    "": "phone",
    "PH": "phone",
    "CP": "phone",
    "FX": "fax",
    "BP": "pager",
    "INTERNET": "email",
    "X.400": "email",
    "MD": "other",
    "SAT": "phone",
    "TDD": "other",
    "TTY": "other",
}

APPOINTMENT_STATUS = {
    "pending": "pending",
    "requested": "pending",
    "proposed": "proposed",
    "waitlist": "waitlist",
    "waitlisted": "waitlist",
    "booked": "booked",
    "overbook": "booked",
    "overbooked": "booked",
    "scheduled": "booked",
    "sch": "booked",
    "confirmed": "booked",
    "rescheduled": "booked",
    "arrived": "arrived",
    "checkedin": "checked-in",
    "started": "checked-in",
    "complete": "fulfilled",
    "completed": "fulfilled",
    "fulfilled": "fulfilled",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "cancel": "cancelled",
    "discontinued": "cancelled",
    "dc": "cancelled",
    "deleted": "entered-in-error",
    "enteredinerror": "entered-in-error",
    "noshow": "noshow",
}

LANGUAGES = _pairs(
    "eng=en; english=en; spa=es; spanish=es; fra=fr; fre=fr; french=fr; deu=de; ger=de; german=de; "
    "ita=it; italian=it; por=pt; portuguese=pt; nld=nl; dut=nl; dutch=nl; rus=ru; russian=ru; ukr=uk; "
    "ukrainian=uk; pol=pl; polish=pl; ara=ar; arabic=ar; zho=zh; chi=zh; chinese=zh; jpn=ja; japanese=ja; "
    "kor=ko; korean=ko; vie=vi; vietnamese=vi; hin=hi; hindi=hi; tgl=tl; tagalog=tl; tur=tr; turkish=tr; "
    "ell=el; gre=el; greek=el; swe=sv; swedish=sv; nor=no; norwegian=no; dan=da; danish=da; fin=fi; "
    "finnish=fi; ces=cs; cze=cs; czech=cs; ron=ro; rum=ro; romanian=ro; hun=hu; hungarian=hu; heb=he; "
    "hebrew=he; fas=fa; per=fa; persian=fa; farsi=fa; urd=ur; urdu=ur; ben=bn; bengali=bn; som=so; "
    "somali=so; hat=ht; haitian creole=ht; cat=ca; catalan=ca"
)

_ALPHA = (
    "AFG AF ALA AX ALB AL DZA DZ ASM AS AND AD AGO AO AIA AI ATA AQ ATG AG ARG AR ARM AM ABW AW AUS AU "
    "AUT AT AZE AZ BHS BS BHR BH BGD BD BRB BB BLR BY BEL BE BLZ BZ BEN BJ BMU BM BTN BT BOL BO BES BQ "
    "BIH BA BWA BW BVT BV BRA BR IOT IO BRN BN BGR BG BFA BF BDI BI CPV CV KHM KH CMR CM CAN CA CYM KY "
    "CAF CF TCD TD CHL CL CHN CN CXR CX CCK CC COL CO COM KM COG CG COD CD COK CK CRI CR CIV CI HRV HR "
    "CUB CU CUW CW CYP CY CZE CZ DNK DK DJI DJ DMA DM DOM DO ECU EC EGY EG SLV SV GNQ GQ ERI ER EST EE "
    "SWZ SZ ETH ET FLK FK FRO FO FJI FJ FIN FI FRA FR GUF GF PYF PF ATF TF GAB GA GMB GM GEO GE DEU DE "
    "GHA GH GIB GI GRC GR GRL GL GRD GD GLP GP GUM GU GTM GT GGY GG GIN GN GNB GW GUY GY HTI HT HMD HM "
    "VAT VA HND HN HKG HK HUN HU ISL IS IND IN IDN ID IRN IR IRQ IQ IRL IE IMN IM ISR IL ITA IT JAM JM "
    "JPN JP JEY JE JOR JO KAZ KZ KEN KE KIR KI PRK KP KOR KR KWT KW KGZ KG LAO LA LVA LV LBN LB LSO LS "
    "LBR LR LBY LY LIE LI LTU LT LUX LU MAC MO MDG MG MWI MW MYS MY MDV MV MLI ML MLT MT MHL MH MTQ MQ "
    "MRT MR MUS MU MYT YT MEX MX FSM FM MDA MD MCO MC MNG MN MNE ME MSR MS MAR MA MOZ MZ MMR MM NAM NA "
    "NRU NR NPL NP NLD NL NCL NC NZL NZ NIC NI NER NE NGA NG NIU NU NFK NF MKD MK MNP MP NOR NO OMN OM "
    "PAK PK PLW PW PSE PS PAN PA PNG PG PRY PY PER PE PHL PH PCN PN POL PL PRT PT PRI PR QAT QA REU RE "
    "ROU RO RUS RU RWA RW BLM BL SHN SH KNA KN LCA LC MAF MF SPM PM VCT VC WSM WS SMR SM STP ST SAU SA "
    "SEN SN SRB RS SYC SC SLE SL SGP SG SXM SX SVK SK SVN SI SLB SB SOM SO ZAF ZA SGS GS SSD SS ESP ES "
    "LKA LK SDN SD SUR SR SJM SJ SWE SE CHE CH SYR SY TWN TW TJK TJ TZA TZ THA TH TLS TL TGO TG TKL TK "
    "TON TO TTO TT TUN TN TUR TR TKM TM TCA TC TUV TV UGA UG UKR UA ARE AE GBR GB USA US UMI UM URY UY "
    "UZB UZ VUT VU VEN VE VNM VN VGB VG VIR VI WLF WF ESH EH YEM YE ZMB ZM ZWE ZW"
)
_CODES = _ALPHA.split()
ALPHA3 = dict(zip(_CODES[::2], _CODES[1::2], strict=True))
_ALPHA2 = frozenset(ALPHA3.values())
COUNTRY_NAMES = _pairs(
    "UNITED STATES=US; UNITED STATES OF AMERICA=US; U.S.A.=US; U.S.=US; AMERICA=US; UNITED KINGDOM=GB; "
    "GREAT BRITAIN=GB; ENGLAND=GB; SCOTLAND=GB; WALES=GB; UK=GB; NORTHERN IRELAND=GB; CANADA=CA; "
    "MEXICO=MX; AUSTRALIA=AU; NEW ZEALAND=NZ; IRELAND=IE; GERMANY=DE; DEUTSCHLAND=DE; AUSTRIA=AT; "
    "ÖSTERREICH=AT; SWITZERLAND=CH; SCHWEIZ=CH; SUISSE=CH; FRANCE=FR; BELGIUM=BE; BELGIQUE=BE; BELGIË=BE; "
    "NETHERLANDS=NL; NEDERLAND=NL; LUXEMBOURG=LU; SPAIN=ES; ESPAÑA=ES; PORTUGAL=PT; ITALY=IT; ITALIA=IT; "
    "POLAND=PL; DENMARK=DK; SWEDEN=SE; NORWAY=NO; FINLAND=FI; ICELAND=IS; INDIA=IN; CHINA=CN; JAPAN=JP; "
    "BRAZIL=BR; BRASIL=BR; ARGENTINA=AR; CHILE=CL; COLOMBIA=CO; PERU=PE; SOUTH AFRICA=ZA; TURKEY=TR; "
    "GREECE=GR; ISRAEL=IL; EGYPT=EG; SAUDI ARABIA=SA; UNITED ARAB EMIRATES=AE; SINGAPORE=SG; "
    "PHILIPPINES=PH; UKRAINE=UA; RUSSIA=RU"
)


def country(text: str) -> str:
    """ISO 3166-1 alpha-2 of a two- or three-letter code or an English (or own) name, else `text`."""
    upper = text.upper()
    if upper in _ALPHA2:
        return upper
    return ALPHA3.get(upper) or COUNTRY_NAMES.get(upper) or text


def is_country(code: str) -> bool:
    """Whether `code` is an ISO 3166-1 alpha-2 code."""
    return code in _ALPHA2


def language(text: str) -> str:
    """ISO 639-1 of a two- or three-letter code, a locale (`en-US`) or an English name, else `text`."""
    lower = text.lower()
    known = LANGUAGES.get(lower)
    if known:
        return known
    head = lower.replace("_", "-").partition("-")[0]
    if len(head) == 2 and head.isalpha():
        return head
    return LANGUAGES.get(head, text) if len(head) == 3 else text


def gender(text: str) -> str | UnsetType:
    """FHIR administrative gender, UNSET when the code is not one of HL7 table 0001 or FHIR."""
    return GENDER.get(text.upper(), UNSET)


def appointment_status(text: str) -> str:
    """FHIR appointment status of a spelling of HL7 table 0278, "" when it is not known."""
    return APPOINTMENT_STATUS.get("".join(filter(str.isalnum, text.lower())), "")
