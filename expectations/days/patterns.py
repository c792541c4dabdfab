"""What ids, titles and hosts look like that are none, as regular expressions of two engines."""

# No pattern holds a backslash or a quote: the two engines read these in literals in other ways.
PLACEHOLDER_IDS = (
    "^(null|undefined|nan|none|nil|n/a|na|unknown|anonymous|guest|test|user|id|true|false|void|empty"
    "|missing|default|(test|tester|dummy|loadtest|bot|crawler|spider|monitor|healthcheck)[-_]?[0-9]*"
    "|[-_.?*0]+|[{(<].*[)}>]|00000000-0000-0000-0000-000000000000)$"
)
ERROR_PAGES = (
    "(^|[^0-9])(4[0-9][0-9]|5[0-9][0-9])([^0-9]|$).{0,3}(not found|forbidden|error|bad |gateway"
    "|unavailable|unauthori|too many|server)|^(error|http)? ?(4[0-9][0-9]|5[0-9][0-9])( error)?$"
    "|not found|just a moment|access denied|forbidden|bad gateway|gateway time-?out"
    "|service (temporarily )?unavailable|internal server error|too many requests|captcha"
    "|attention required|checking your browser|are you (a )?(human|robot)|verify you are human"
    "|site can.t be reached|under maintenance|maintenance mode|an error occurred"
    "|something went wrong|application error|nicht gefunden|introuvable|no encontrada|non trovata"
    "|^(undefined|null|untitled|none|nan|n/a|unknown|[(]?no title[)]?|[-_.?* ]+|loading[.]*"
    "|error|redirecting[.]*|new tab|about:blank)$"
)
TITLE_MARKUP = "<[a-z/!][^<]*>|&(amp|lt|gt|quot|nbsp|#[0-9x]+);|<script|[{][{].*[}][}]|<[?%]"
EMAIL_ADDRESS = "[a-z0-9._%+-]+@[a-z0-9-]+[.][a-z.]{2,}"
SECRET_VALUES = (  # nosec B105: patterns
    "(password|passwd|pwd|passphrase|secret|api_?key|access_?token|auth_?token|session_?id)=[^ ]"
    "|://[^/ ]*:[^/ ]*@|bearer [a-z0-9]|^[^ /@]+:[^ /@]+@|-----begin"
)
HOST_NAME = "^(https?://)?[a-z0-9_-]+([.][a-z0-9_-]+)+(:[0-9]+)?(/[^ @]*)?$"
DOMAIN_NAME = "^(https?://)?[a-z0-9-]+([.][a-z0-9-]+)*[.][a-z]{2,12}(/[^ ]*)?$"
# UTF-8 that was read as Latin-1 or Windows-1252, letters that became question marks, and U+FFFD.
BROKEN_TEXT = (
    "[\u00e2\u00e3\u00f0\u00f1][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6"
    "\u02dc\u201a-\u203a\u20ac\u2122]|\u00ef\u00bb\u00bf|\ufffd|[a-z][?]+[a-z]"
)
# One class of letters is that of most of a title: of its first letter that is none of ASCII.
TITLE_SCRIPTS = {
    "cyrillic": "[\u0400-\u052f]",
    "greek": "[\u0370-\u03ff]",
    "han": "[\u3400-\u9fff]",
    "kana": "[\u3040-\u30ff]",
    "hangul": "[\uac00-\ud7af]",
    "arabic": "[\u0600-\u06ff]",
    "hebrew": "[\u0590-\u05ff]",
    "thai": "[\u0e00-\u0e7f]",
    "indic": "[\u0900-\u0dff]",
    "other": "[\u10a0-\u10ff\u0530-\u058f\u1200-\u139f]",
    "latin": "[A-Za-z\u00c0-\u024f]",
}
# Which kinds of characters an id has: what a change of its format changes.
ID_CHARACTERS = {
    "a": "[a-z]", "A": "[A-Z]", "9": "[0-9]", "_": "_", "-": "-", ".": "[.]", "@": "@", ":": ":",
    "/": "/", "blank": "[ ]", "{}": "[{}()<>]", "+": "[+=%&#|;,*!?$~]", "other": "[^ -~]",
}  # fmt: skip
