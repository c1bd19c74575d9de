"""What an emoji is called, and which concept a drawing shows.

Every set names its files in its own way: "grinning-face", "smile", "bunny", "clock4thirty". The common
key is the code point, and through it the official English name of Unicode's CLDR. A drawing finds its
code point in this order:

1. the set's own table of code points, where it has one;
2. its name, or another name the set lists for it, among all names known for a code point: CLDR's,
   Unicode's, five sets of chat shortcodes, and the names of the sets under 1;
3. ``fxemoji_names.json``, typed by hand, for Firefox OS, whose names are nobody else's.

Names are compared by their letters and digits alone. Skin tones are other drawings of the same concept.
Flags, and parts such as a bare skin tone, are left out.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sources import HERE, STYLES, read_json

# emojibase's numbers of Unicode's groups; people and faces count as one in the figures.
GROUPS = {
    0: "people",
    1: "people",
    3: "animals",
    4: "food",
    5: "travel",
    6: "objects",
    7: "objects",
    8: "symbols",
}
SHORTCODES = ("cldr", "emojibase", "github", "iamcal", "joypixels", "emojibase-legacy")
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
TONE = re.compile(rf"(.+?)-(?:(?:{'|'.join(TONES)})(?:-skin-tone)?|tone[1-5])")


@dataclass(frozen=True)
class Concept:
    """One emoji, whatever its drawing: code point, official name, group and keywords."""

    code: str
    name: str
    group: str
    keywords: tuple[str, ...]


def code_point(hexcode: str) -> str:
    """Return code points in one spelling: upper case, without the request for a coloured drawing."""
    return "-".join(part for part in hexcode.upper().split("-") if part != "FE0F")


def plain_words(label: str) -> str:
    """Return Unicode's "keycap: #" or "woman: red hair" as one would say it."""
    spoken = label.translate(str.maketrans({"#": "hash", "*": "asterisk"}))
    return re.sub("[:\u201c\u201d]", "", spoken).replace("\u2019", "'")


def letters(name: str) -> str:
    """Return what is compared of a name: "Men's shoe" and "mens-shoe" are one."""
    plain = unicodedata.normalize("NFKD", name.lower().replace("&", "and"))
    return re.sub(r"[^a-z0-9#*]", "", plain)


class Concepts:
    """All concepts, and the way from a drawing's name to its concept."""

    def __init__(self, data: Path) -> None:
        self.by_code: dict[str, Concept] = {}
        self._base: dict[str, str] = {}  # code point of a skin tone's drawing -> code point without it
        self._code_of: dict[str, str] = {}  # letters of a name -> code point
        for entry in read_json(data, "emojibase-data", "en/data.json"):
            if entry.get("group") in GROUPS:
                self._add(entry)
        self._learn_names(data)

    def _add(self, entry: dict[str, Any]) -> None:
        code = code_point(entry["hexcode"])
        name = plain_words(entry["label"])
        self.by_code[code] = Concept(code, name, GROUPS[entry["group"]], tuple(entry.get("tags", ())))
        self._code_of.setdefault(letters(entry["label"]), code)
        for skin in entry.get("skins", ()):
            if isinstance(skin["tone"], int):  # two people of two tones are left out
                self._base[code_point(skin["hexcode"])] = code

    def _learn_names(self, data: Path) -> None:
        for file in SHORTCODES:
            for hexcode, names in read_json(data, "emojibase-data", f"en/shortcodes/{file}.json").items():
                for name in [names] if isinstance(names, str) else names:
                    self._learn(name, hexcode)
        for code in self.by_code:
            if "-" not in code:
                self._learn(unicodedata.name(chr(int(code, 16)), ""), code)
        for style in STYLES:
            others = other_names(read_json(data, style.package, "icons.json"))
            for hexcode, name in read_json(data, style.package, "chars.json").items():
                for known in (name, *others.get(name, ())):
                    self._learn(known, hexcode)

    def _learn(self, name: str, hexcode: str) -> None:
        code = code_point(hexcode)
        if name and code in self.by_code:
            self._code_of.setdefault(letters(name), code)

    def of_style(self, data: Path, style: str, package: str) -> dict[str, str]:
        """Return {drawing's name: code point of its concept} of every drawing that has one."""
        icons = read_json(data, package, "icons.json")
        own = {name: code_point(code) for code, name in read_json(data, package, "chars.json").items()}
        by_hand = json.loads((HERE / "fxemoji_names.json").read_text("utf-8")) if style == "fxemoji" else {}
        others = other_names(icons)
        found = {}
        for name in icons["icons"]:
            code: str | None = None
            if name in own:
                code = self._base.get(own[name], own[name])
            elif name in by_hand:
                code = self._code_of.get(letters(by_hand[name]))
            else:
                known = (name, *others.get(name, ()))
                code = next((found for found in map(self._look_up, known) if found), None)
            if code in self.by_code:
                found[name] = code
        return found

    def _look_up(self, name: str) -> str | None:
        toned = TONE.fullmatch(name)
        numbered = re.fullmatch(r"(.+)-\d", name)  # "guitar-2" is a second drawing of a guitar
        for base in (name, toned and toned[1], numbered and numbered[1]):
            if base and letters(base) in self._code_of:
                return self._code_of[letters(base)]
        return None


def other_names(icons: dict[str, Any]) -> dict[str, list[str]]:
    """Return {name: other names} of a set; an alias that also turns or mirrors is another drawing."""
    others: dict[str, list[str]] = {}
    for alias, target in icons.get("aliases", {}).items():
        if set(target) == {"parent"}:
            others.setdefault(target["parent"], []).append(alias)
    return others
