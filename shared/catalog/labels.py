"""A label in each language the product speaks."""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = ("en", "zh-Hans")


class Label(NamedTuple):
    """What a code is called, in English and in simplified Chinese."""

    en: str
    zh_hans: str

    def in_language(self, language: str) -> str:
        return self.zh_hans if language == "zh-Hans" else self.en


Labels = dict[str, Label]


def negotiate(accept_language: str | None) -> str:
    """The language to answer in: the first of Accept-Language that the product speaks, by weight; else English.

    A weight of 0 says “not this one”.
    """
    wanted: list[tuple[float, int, str]] = []
    for place, item in enumerate((accept_language or "").split(",")):
        tag, _, parameter = item.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            weight = 0.0
        if tag and weight > 0:
            wanted.append((-weight, place, tag.lower()))
    for _, _, tag in sorted(wanted):
        if tag.startswith("zh"):
            return "zh-Hans"
        if tag.startswith("en"):
            return "en"
    return "en"
