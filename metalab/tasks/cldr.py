"""Names of places, languages and currencies in the world's languages: the Unicode CLDR's, as Babel packages them.

Unicode Common Locale Data Repository, https://cldr.unicode.org; Babel, https://babel.pocoo.org.

What is taken, by rule and never by hand:

- Languages written in Latin letters, each once: of a language only its main entry (`pt`, no `pt_PT`; no `sr_Latn`),
  and none that inherits from another language's entry (`nn` from `no`) or that has no English name there.
- Names in lower case, composed (NFC), of 3 to 20 of the letters in `ALPHABET`.
- Names are the same where their letters are: accents, apostrophes, hyphens, spaces and the like tell no names apart
  (`folded`), so that neither English with tone marks nor one language's spelling of another's name counts as its own.
- No stand-ins: outside English and French themselves no name that is also an English or French one.
- No variants: languages are taken from the one with most names to the one with fewest, and one that calls half as
  much by the same names as one that is taken already (Croatian as Bosnian, the Songhay languages as one another) is
  left out. `shared` measures it.
- No name twice: a name that two languages have is left out of both, so that every name belongs to one language and
  no name of a held-out language is ever seen in meta-training, however it is accented. A language with fewer than 100
  names left is left out.
- No unknown letters: a held-out name with a letter that no name of meta-training has is left out.

Splits are by language. Languages that call a fifth or more by the same names (Danish, Norwegian, Swedish) form a group
and stay in one split, and so do those that are linked through others. The groups of each language family, the largest
first, go to train, test, validation, train, train, and so on in turn, so that every split has many families.

What this leaves: letters of their own are no accents, so that 49 held-out names are in meta-training but for an ɔ, ɛ, ŋ
or the like (`swédɛ`, `swede`); and names of two languages may be close without being the same. Of what a held-out
language and one of meta-training both name, most is within one letter for Zulu beside Xhosa (62%) and English beside
Nama (61%), whose foreign countries are called nearly alike; for half of the held-out languages less than 20% is.
"""

from __future__ import annotations

import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import get_args

import numpy as np
import torch
from babel import localedata
from babel.core import get_global
from numpy.typing import NDArray
from torch import Tensor

from metalab.tasks.base import Split

LETTERS = "abcdefghijklmnopqrstuvwxyzàáâãäåæçèéêëìíîïñòóôõöøùúûüýāćčđēěğĩīłńňŋōśşšũūźżžǎǝǧǹɔɛɣɨɲʉḍḥṣṭẽọ"
"""Those that three or more languages use."""
ALPHABET = " '-" + LETTERS
BOUNDARY = 0
"""The token before and after a name, and what fills a row up; letter i of ALPHABET is token i + 1."""
TOKENS = len(ALPHABET) + 1
SHORTEST, LONGEST = 3, 20
"""Letters of a name."""
FEWEST = 100
"""Names of a language."""
VARIANT, RELATED = 0.5, 0.2
"""Share of names in common from which a language is a variant of another, and from which it stays in its split."""
SAMPLE = 20
"""Names of each kind that tell in which letters a language is written."""
COMPARABLE = 30
"""Things that two languages must both name for their names to be compared."""
STAND_INS = ("en", "fr")
KINDS = {"territories": "place", "languages": "language", "currency_names": "currency"}
"""CLDR's tables, and what their names name."""
TURNS: tuple[Split, ...] = ("train", "test", "validation", "train", "train")
OTHER = "other"

FAMILIES = {
    "Afro-Asiatic": "aa ha kab mt om rif so tzm",
    "Americas": "gn kgp kl lkt qu quc yrl",
    "Austronesian": "bew ceb fil haw id jv mg mi ms su to",
    "Baltic": "lt ltg lv prg",
    "Bantu": (
        "asa bas bem bez cgg dav dua ebu ewo guz jmc kam kde ki ksb ksf lag lg ln lu luy mer mgh nd nmg nr nso ny nyn "
        "rn rof rw rwk sbp seh sn ss st sw tn ts ve vmw vun xh xog yav zu"
    ),
    "Celtic": "br cy ga gd gv kw",
    "Constructed": "eo ia ie io tok vo",
    "Creole": "ht kea mfe pap pcm pis tpi",
    "Germanic": "af da de en fo frr fy gsw is ksh lb nds nl nn no sv wae",
    "Niger-Congo": "agq ak blo bm dyo ee ff gaa ig mua sg wo yo",
    "Nilo-Saharan": "dje khq kln luo mas nus saq ses teo twq",
    "Romance": "an ast ca co es fr fur gl it la lij lld lmo oc pt rm ro sc scn vec wa",
    "Slavic": "bs cs dsb hr hsb pl sk sl szl",
    "Turkic": "az kaa tk tr tt uz",
    "Uralic": "et fi hu se sma smj smn sms",
}
"""Families with several languages here; every other language is in OTHER."""
FAMILY_OF = {code: family for family, codes in FAMILIES.items() for code in codes.split()}

Names = Mapping[str, Mapping[tuple[str, str], str]]
"""For each language: what (kind, CLDR's code) is called."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """All names: N of L languages, language after language, kind after kind."""

    codes: tuple[str, ...]
    """(L,) ISO 639, in alphabetical order."""
    titles: tuple[str, ...]
    """(L,) in English."""
    families: tuple[str, ...]
    """(L,)"""
    splits: tuple[Split, ...]
    """(L,)"""
    tokens: NDArray[np.int64]
    """(N, LONGEST), filled up with BOUNDARY."""
    language: NDArray[np.int64]
    """(N,) places in `codes`."""
    kind: NDArray[np.int64]
    """(N,) places in KINDS."""

    def of(self, split: Split) -> list[int]:
        """Places in `codes` of the split's languages."""
        return [i for i, found in enumerate(self.splits) if found == split]


_lock = threading.Lock()


def corpus() -> Corpus:
    """The names, read once (about a second) for all threads."""
    with _lock:
        return _corpus()


@cache
def _corpus() -> Corpus:
    english = localedata.load("en")["languages"]
    names = {code: found for code, found in _all_names() if code in english and len(set(found.values())) >= FEWEST}
    common = shared(names)
    kept = _without_variants(names, common)
    own = _own_names(kept)
    groups = _groups(list(own), common)
    splits = _dealt(groups, own)
    trained = set().union(*(name for code in own if splits[code] == "train" for name in own[code]))
    own = {code: {name: kind for name, kind in own[code].items() if set(name) <= trained} for code in own}
    codes = tuple(sorted(own))
    rows = [
        (text, place, kind)
        for place, code in enumerate(codes)
        for text, kind in sorted(own[code].items(), key=lambda item: (item[1], item[0]))
    ]
    return Corpus(
        codes,
        tuple(english[code] for code in codes),
        tuple(FAMILY_OF.get(code, OTHER) for code in codes),
        tuple(splits[code] for code in codes),
        encode([text for text, _place, _kind in rows]),
        np.array([place for _text, place, _kind in rows]),
        np.array([kind for _text, _place, kind in rows]),
    )


# --- text


_TOKEN = {letter: i + 1 for i, letter in enumerate(ALPHABET)}
_LATIN = set(LETTERS)


def normalised(text: str) -> str:
    """Lower case, composed, one kind of apostrophe, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).lower().replace("’", "'").split())


@cache
def folded(name: str) -> str:
    """The letters alone of a name, without their accents: what decides whether two names are the same."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", name) if sign.isalpha())


def problem(text: str) -> str | None:
    """Why a normalised text is no name here, in one sentence, or None where it is one."""
    if not _TOKEN.keys() >= set(text):
        strange = next(letter for letter in text if letter not in _TOKEN)
        return f"{strange!r} is not among the {len(ALPHABET)} letters that the networks know"
    if not SHORTEST <= len(text) <= LONGEST:
        return f"{text!r} has {len(text)} letters: expected {SHORTEST} to {LONGEST}"
    return None


def encode(names: Sequence[str]) -> NDArray[np.int64]:
    """Tokens (N, LONGEST). Raises ValueError for what is no name (see `problem`)."""
    tokens = np.full((len(names), LONGEST), BOUNDARY, np.int64)
    for row, name in zip(tokens, names, strict=True):
        wrong = problem(name)
        if wrong:
            raise ValueError(wrong)
        row[: len(name)] = [_TOKEN[letter] for letter in name]
    return tokens


def decode(tokens: Sequence[int] | NDArray[np.int64]) -> str:
    """The letters up to the first BOUNDARY."""
    text = ""
    for token in tokens:
        if token == BOUNDARY:
            break
        text += ALPHABET[int(token) - 1]
    return text


def without_replacement(counts: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """n different places below each of counts (...), all of which are n or more: (..., n)."""
    u = torch.rand(*counts.shape, int(counts.max()), generator=rng)
    beyond = torch.arange(u.shape[-1]) >= counts[..., None]
    return u.masked_fill_(beyond, 2.0).topk(n, largest=False).indices


# --- which names


def _all_names() -> Iterator[tuple[str, dict[tuple[str, str], str]]]:
    """Each language in Latin letters, with the names of its own; English and French first."""
    codes = sorted(code for code in localedata.locale_identifiers() if "_" not in code)
    inherits = get_global("parent_exceptions")
    found = {code: _raw_names(code) for code in codes if code not in inherits}
    borrowed = {folded(name) for code in STAND_INS for name in _entry(code).values()}
    for code, names in found.items():
        if code in STAND_INS:
            yield code, names
        else:
            yield code, {key: name for key, name in names.items() if folded(name) not in borrowed}


def _entry(code: str) -> dict[tuple[str, str], str]:
    """What the entry itself says, normalised, nothing inherited."""
    entry = localedata.load(code, merge_inherited=False)
    return {
        (kind, key): normalised(name) for table, kind in KINDS.items() for key, name in entry.get(table, {}).items()
    }


def _raw_names(code: str) -> dict[tuple[str, str], str]:
    """What is a name in the language's entry; empty for a language in other letters."""
    found = _entry(code)
    sample = [name for kind in KINDS.values() for name in [found[key] for key in found if key[0] == kind][:SAMPLE]]
    if sum(bool(_LATIN & set(name)) for name in sample) < 0.9 * max(len(sample), 1):
        return {}
    return {key: name for key, name in found.items() if problem(name) is None and name != key[1].lower()}


def shared(names: Names) -> dict[tuple[str, str], float]:
    """For each pair of languages, of what both name the share that they call the same; 0 where both name little."""
    codes = sorted(names)
    places = {key: i for i, key in enumerate(sorted({key for found in names.values() for key in found}))}
    known: dict[str, int] = {}
    table = np.full((len(codes), len(places)), -1, np.int32)
    for row, code in zip(table, codes, strict=True):
        for key, name in names[code].items():
            row[places[key]] = known.setdefault(folded(name), len(known))
    out = {}
    for i, code in enumerate(codes):
        both = (table >= 0) & (table[i] >= 0)
        same = (both & (table == table[i])).sum(1)
        for j, other in enumerate(codes):
            n = int(both[j].sum())
            out[code, other] = float(same[j]) / n if n >= COMPARABLE else 0.0
    return out


def _without_variants(names: Names, common: Mapping[tuple[str, str], float]) -> Names:
    kept: list[str] = []
    for code in sorted(names, key=lambda code: (-len(names[code]), code)):
        if all(common[code, other] < VARIANT for other in kept):
            kept.append(code)
    return {code: names[code] for code in kept}


def _own_names(names: Names) -> dict[str, dict[str, int]]:
    """For each language the names that no other has, with the place of their kind; none with too few."""
    kinds = {kind: i for i, kind in enumerate(KINDS.values())}
    held = Counter(name for found in names.values() for name in set(map(folded, found.values())))
    own: dict[str, dict[str, int]] = {}
    for code, found in names.items():
        mine: dict[str, int] = {}
        for (kind, _key), name in found.items():
            if held[folded(name)] == 1:
                mine.setdefault(name, kinds[kind])
        if len(mine) >= FEWEST:
            own[code] = mine
    return own


# --- which split


def _groups(codes: Sequence[str], common: Mapping[tuple[str, str], float]) -> list[list[str]]:
    """Languages that are related, directly or through others."""
    left, groups = sorted(codes), []
    while left:
        group, new = [], [left.pop(0)]
        while new:
            code = new.pop()
            group.append(code)
            linked = [other for other in left if common[code, other] >= RELATED]
            left = [other for other in left if other not in linked]
            new += linked
        groups.append(sorted(group))
    return groups


def _dealt(groups: Sequence[Sequence[str]], own: Mapping[str, Mapping[str, int]]) -> dict[str, Split]:
    """The split of every language."""
    by_family: dict[str, list[Sequence[str]]] = {}
    for group in groups:
        counted = Counter(FAMILY_OF.get(code, OTHER) for code in group)
        family = min(counted, key=lambda name: (-counted[name], name))
        by_family.setdefault(family, []).append(group)
    splits: dict[str, Split] = {}
    for found in by_family.values():
        found.sort(key=lambda group: (-sum(len(own[code]) for code in group), group[0]))
        for turn, group in enumerate(found):
            splits |= dict.fromkeys(group, TURNS[turn % len(TURNS)])
    assert set(splits.values()) == set(get_args(Split))
    return splits
