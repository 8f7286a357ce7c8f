"""Countries (ISO 3166-1), states and languages that a fresh Odoo knows, in the order of their database ids.

Guarantees: codes, names and external ids (`base.us`, `base.state_us_14`) as Odoo 19 has them; the United
Kingdom is `base.uk`. Refuses: states of other countries than the ones below.
"""

from __future__ import annotations

_COUNTRIES = """
AD Andorra; AE United Arab Emirates; AF Afghanistan; AG Antigua and Barbuda; AI Anguilla; AL Albania;
AM Armenia; AO Angola; AQ Antarctica; AR Argentina; AS American Samoa; AT Austria; AU Australia;
AW Aruba; AX Åland Islands; AZ Azerbaijan; BA Bosnia and Herzegovina; BB Barbados; BD Bangladesh;
BE Belgium; BF Burkina Faso; BG Bulgaria; BH Bahrain; BI Burundi; BJ Benin; BL Saint Barthélémy;
BM Bermuda; BN Brunei Darussalam; BO Bolivia; BQ Bonaire, Sint Eustatius and Saba; BR Brazil;
BS Bahamas; BT Bhutan; BV Bouvet Island; BW Botswana; BY Belarus; BZ Belize; CA Canada;
CC Cocos (Keeling) Islands; CF Central African Republic; CD Congo (DRC); CG Congo (Republic);
CH Switzerland; CI Côte d'Ivoire; CK Cook Islands; CL Chile; CM Cameroon; CN China; CO Colombia;
CR Costa Rica; CU Cuba; CV Cape Verde; CW Curaçao; CX Christmas Island; CY Cyprus; CZ Czech Republic;
DE Germany; DJ Djibouti; DK Denmark; DM Dominica; DO Dominican Republic; DZ Algeria; EC Ecuador;
EE Estonia; EG Egypt; EH Western Sahara; ER Eritrea; ES Spain; ET Ethiopia; FI Finland; FJ Fiji;
FK Falkland Islands; FM Micronesia; FO Faroe Islands; FR France; GA Gabon; GD Grenada; GE Georgia;
GF French Guiana; GH Ghana; GI Gibraltar; GG Guernsey; GL Greenland; GM Gambia; GN Guinea;
GP Guadeloupe; GQ Equatorial Guinea; GR Greece; GS South Georgia and the South Sandwich Islands;
GT Guatemala; GU Guam; GW Guinea-Bissau; GY Guyana; HK Hong Kong; HM Heard Island and McDonald Islands;
HN Honduras; HR Croatia; HT Haiti; HU Hungary; ID Indonesia; IE Ireland; IL Israel; IM Isle of Man;
IN India; IO British Indian Ocean Territory; IQ Iraq; IR Iran; IS Iceland; IT Italy; JE Jersey;
JM Jamaica; JO Jordan; JP Japan; KE Kenya; KG Kyrgyzstan; KH Cambodia; KI Kiribati; KM Comoros;
KN Saint Kitts and Nevis; KP North Korea; KR South Korea; KW Kuwait; KY Cayman Islands; KZ Kazakhstan;
LA Laos; LB Lebanon; LC Saint Lucia; LI Liechtenstein; LK Sri Lanka; LR Liberia; LS Lesotho;
LT Lithuania; LU Luxembourg; LV Latvia; LY Libya; MA Morocco; MC Monaco; MD Moldova; ME Montenegro;
MF Saint Martin (French part); MG Madagascar; MH Marshall Islands; MK North Macedonia; ML Mali;
MM Myanmar; MN Mongolia; MO Macau; MP Northern Mariana Islands; MQ Martinique; MR Mauritania;
MS Montserrat; MT Malta; MU Mauritius; MV Maldives; MW Malawi; MX Mexico; MY Malaysia; MZ Mozambique;
NA Namibia; NC New Caledonia; NE Niger; NF Norfolk Island; NG Nigeria; NI Nicaragua; NL Netherlands;
NO Norway; NP Nepal; NR Nauru; NU Niue; NZ New Zealand; OM Oman; PA Panama; PE Peru;
PF French Polynesia; PG Papua New Guinea; PH Philippines; PK Pakistan; PL Poland;
PM Saint Pierre and Miquelon; PN Pitcairn Islands; PR Puerto Rico; PS State of Palestine; PT Portugal;
PW Palau; PY Paraguay; QA Qatar; RE Réunion; RO Romania; RS Serbia; RU Russian Federation; RW Rwanda;
SA Saudi Arabia; SB Solomon Islands; SC Seychelles; SD Sudan; SE Sweden; SG Singapore;
SH Saint Helena, Ascension and Tristan da Cunha; SI Slovenia; SJ Svalbard and Jan Mayen; SK Slovakia;
SL Sierra Leone; SM San Marino; SN Senegal; SO Somalia; SR Suriname; SS South Sudan;
ST São Tomé and Príncipe; SV El Salvador; SX Sint Maarten (Dutch part); SY Syria; SZ Eswatini;
TC Turks and Caicos Islands; TD Chad; TF French Southern Territories; TG Togo; TH Thailand;
TJ Tajikistan; TK Tokelau; TM Turkmenistan; TN Tunisia; TO Tonga; TL Timor-Leste; TR Türkiye;
TT Trinidad and Tobago; TV Tuvalu; TW Taiwan; TZ Tanzania; UA Ukraine; UG Uganda; GB United Kingdom;
UM USA Minor Outlying Islands; US United States; UY Uruguay; UZ Uzbekistan;
VA Holy See (Vatican City State); VC Saint Vincent and the Grenadines; VE Venezuela;
VG Virgin Islands (British); VI Virgin Islands (USA); VN Vietnam; VU Vanuatu; WF Wallis and Futuna;
WS Samoa; YE Yemen; YT Mayotte; ZA South Africa; ZM Zambia; ZW Zimbabwe; XI Northern Ireland;
XK Kosovo
"""
_STATES = {  # country → external id suffix, code, name
    "AU": """
1 ACT Australian Capital Territory; 2 NSW New South Wales; 3 NT Northern Territory; 4 QLD Queensland;
5 SA South Australia; 6 TAS Tasmania; 7 VIC Victoria; 8 WA Western Australia
""",
    "US": """
1 AL Alabama; 2 AK Alaska; 3 AZ Arizona; 4 AR Arkansas; 5 CA California; 6 CO Colorado;
7 CT Connecticut; 8 DE Delaware; 9 DC District of Columbia; 10 FL Florida; 11 GA Georgia; 12 HI Hawaii;
13 ID Idaho; 14 IL Illinois; 15 IN Indiana; 16 IA Iowa; 17 KS Kansas; 18 KY Kentucky; 19 LA Louisiana;
20 ME Maine; 21 MT Montana; 22 NE Nebraska; 23 NV Nevada; 24 NH New Hampshire; 25 NJ New Jersey;
26 NM New Mexico; 27 NY New York; 28 NC North Carolina; 29 ND North Dakota; 30 OH Ohio; 31 OK Oklahoma;
32 OR Oregon; 33 MD Maryland; 34 MA Massachusetts; 35 MI Michigan; 36 MN Minnesota; 37 MS Mississippi;
38 MO Missouri; 39 PA Pennsylvania; 40 RI Rhode Island; 41 SC South Carolina; 42 SD South Dakota;
43 TN Tennessee; 44 TX Texas; 45 UT Utah; 46 VT Vermont; 47 VA Virginia; 48 WA Washington;
49 WV West Virginia; 50 WI Wisconsin; 51 WY Wyoming; as AS American Samoa;
fm FM Federated States of Micronesia; gu GU Guam; mh MH Marshall Islands;
mp MP Northern Mariana Islands; pw PW Palau; pr PR Puerto Rico; vi VI Virgin Islands;
aa AA Armed Forces Americas; ae AE Armed Forces Europe; ap AP Armed Forces Pacific
""",
    "BR": """
ac AC Acre; al AL Alagoas; ap AP Amapá; am AM Amazonas; ba BA Bahia; ce CE Ceará;
df DF Distrito Federal; es ES Espírito Santo; go GO Goiás; ma MA Maranhão; mt MT Mato Grosso;
ms MS Mato Grosso do Sul; mg MG Minas Gerais; pa PA Pará; pb PB Paraíba; pr PR Paraná;
pe PE Pernambuco; pi PI Piauí; rj RJ Rio de Janeiro; rn RN Rio Grande do Norte;
rs RS Rio Grande do Sul; ro RO Rondônia; rr RR Roraima; sc SC Santa Catarina; sp SP São Paulo;
se SE Sergipe; to TO Tocantins
""",
    "MX": """
ags AGU Aguascalientes; bc BCN Baja California; bcs BCS Baja California Sur; chih CHH Chihuahua;
col COL Colima; camp CAM Campeche; coah COA Coahuila; chis CHP Chiapas; df CMX Ciudad de México;
dgo DUR Durango; gro GRO Guerrero; gto GUA Guanajuato; hgo HID Hidalgo; jal JAL Jalisco;
mich MIC Michoacán; mor MOR Morelos; mex MEX México; nay NAY Nayarit; nl NLE Nuevo León;
oax OAX Oaxaca; pue PUE Puebla; q_roo ROO Quintana Roo; qro QUE Querétaro; sin SIN Sinaloa;
slp SLP San Luis Potosí; son SON Sonora; tab TAB Tabasco; tlax TLA Tlaxcala; tamps TAM Tamaulipas;
ver VER Veracruz; yuc YUC Yucatán; zac ZAC Zacatecas
""",
    "CA": """
ab AB Alberta; bc BC British Columbia; mb MB Manitoba; nb NB New Brunswick;
nl NL Newfoundland and Labrador; nt NT Northwest Territories; ns NS Nova Scotia; nu NU Nunavut;
on ON Ontario; pe PE Prince Edward Island; qc QC Quebec; sk SK Saskatchewan; yt YT Yukon
""",
    "IN": """
an AN Andaman and Nicobar; ap AP Andhra Pradesh; ar AR Arunachal Pradesh; as AS Assam; br BR Bihar;
ch CH Chandigarh; cg CG Chattisgarh; dn DN Dadra and Nagar Haveli; dd DD Daman and Diu; dl DL Delhi;
ga GA Goa; gj GJ Gujarat; hr HR Haryana; hp HP Himachal Pradesh; jk JK Jammu and Kashmir;
jh JH Jharkhand; ka KA Karnataka; kl KL Kerala; ld LD Lakshadweep; mp MP Madhya Pradesh;
mh MH Maharashtra; mn MN Manipur; ml ML Meghalaya; mz MZ Mizoram; nl NL Nagaland; or OD Odisha;
py PY Puducherry; pb PB Punjab; rj RJ Rajasthan; sk SK Sikkim; tn TN Tamil Nadu; ts TS Telangana;
tr TR Tripura; up UP Uttar Pradesh; uk UK Uttarakhand; wb WB West Bengal
""",
    "DE": """
bw DE-BW Baden-Württemberg; by DE-BY Bayern; be DE-BE Berlin; bb DE-BB Brandenburg; hb DE-HB Bremen;
hh DE-HH Hamburg; he DE-HE Hessen; mv DE-MV Mecklenburg-Vorpommern; ni DE-NI Niedersachsen;
nw DE-NW Nordrhein-Westfalen; rp DE-RP Rheinland-Pfalz; sl DE-SL Saarland; sn DE-SN Sachsen;
st DE-ST Sachsen-Anhalt; sh DE-SH Schleswig-Holstein; th DE-TH Thüringen
""",
}
LANGUAGES = (
    ("en_US", "English (US)"),
    ("en_GB", "English (UK)"),
    ("fr_FR", "French / Français"),
    ("fr_CA", "French (CA) / Français (CA)"),
    ("de_DE", "German / Deutsch"),
    ("es_ES", "Spanish / Español"),
    ("es_MX", "Spanish (MX) / Español (MX)"),
    ("it_IT", "Italian / Italiano"),
    ("nl_NL", "Dutch / Nederlands"),
    ("pt_BR", "Portuguese (BR) / Português (BR)"),
    ("pl_PL", "Polish / Język polski"),
    ("sv_SE", "Swedish / Svenska"),
    ("hi_IN", "Hindi / हिंदी"),
    ("ar_001", "Arabic / الْعَرَبيّة"),
    ("zh_CN", "Chinese, Simplified / 简体中文"),
    ("ja_JP", "Japanese / 日本語"),
)
"""Locale code and name; only the first is active, as in a fresh database."""


def countries() -> list[tuple[str, str, str]]:
    """(external id, code, name) of every country; the first has id 1."""
    pairs = (
        entry.strip().split(" ", 1) for entry in _COUNTRIES.replace("\n", " ").split(";") if entry.strip()
    )
    return [("uk" if code == "GB" else code.lower(), code, name) for code, name in pairs]


def states() -> list[tuple[str, str, str, str]]:
    """(country code, external id, code, name) of the states."""
    return [
        (country, f"state_{country.lower()}_{suffix}", code, name)
        for country, text in _STATES.items()
        for suffix, code, name in (
            entry.strip().split(" ", 2) for entry in text.replace("\n", " ").split(";") if entry.strip()
        )
    ]
