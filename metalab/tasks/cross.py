"""Domain shift: learn to learn on the characters of one family, and be tested on another's.

After the cross-domain evaluations of Chen, Liu, Kira, Wang, Huang: A Closer Look at Few-shot Classification. ICLR
2019, arXiv:1904.04232 (among them Omniglot to other writing). Meta-training and meta-validation are of the one
family, meta-test is of the other.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from metalab.settings import setting
from metalab.tasks import mnist
from metalab.tasks.base import Split
from metalab.tasks.characters import CharacterFamily, Library
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.mnist import Mnist
from metalab.tasks.omniglot import Omniglot

Member = Literal["glyphs", "omniglot", "mnist"]
MEMBERS: dict[Member, type[CharacterFamily]] = {"glyphs": Glyphs, "omniglot": Omniglot, "mnist": Mnist}


class Cross(CharacterFamily):
    """Train on invented characters and test on Omniglot, by default; whichever pair, no class is in two splits."""

    title: ClassVar[str] = "From one script to another"
    summary: ClassVar[str] = "Learn to learn on one kind of characters and be tested on another: domain shift."

    name: Literal["cross"] = "cross"
    train_on: Member = setting(
        "glyphs",
        "Whose characters are practised on. Held-out tasks while training, and evaluation on the validation split, "
        "are of this family too: they show accuracy at home.",
    )
    test_on: Member = setting(
        "omniglot",
        "Whose characters make the test split. Where they are others, a run is tried on them too while it trains: the "
        "dotted curve, away from home.",
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        for split in ("train", "validation", "test"):
            digits = self._digits(split)
            if digits and self.ways > digits:
                raise ValueError(
                    f"ways = {self.ways}, expected at most {digits}: MNIST has {digits} digits for the {split} split "
                    f"here. Lower ways, or choose other characters"
                )
        return self

    def _digits(self, split: Split) -> int:
        """How many digits the split's classes are, 0 where they are other characters."""
        if self._member(split) != "mnist":
            return 0
        return 10 if self.foreign(split) else len(mnist.DIGITS[split])

    def _member(self, split: Split) -> Member:
        return self.test_on if split == "test" else self.train_on

    def foreign(self, split: Split) -> bool:
        """Whether the classes of `split` are of a family that was not trained on."""
        return self._member(split) != self.train_on

    @property
    def away(self) -> Split | None:
        return "test" if self.foreign("test") else None

    def source(self, split: Split) -> tuple[Library, Split]:
        """The member's; of MNIST all ten digits where none of them was trained on."""
        member = self._member(split)
        if member == "mnist" and self.foreign(split):
            return mnist.ALL_DIGITS, "test"
        return MEMBERS[member].library, split

    @property
    def data_sets(self) -> tuple[str, ...]:
        sets = [name for member in (self.train_on, self.test_on) for name in MEMBERS[member](name=member).data_sets]
        return tuple(dict.fromkeys(sets))

    def require(self) -> None:
        """Raise DataMissing where the data of either family is not on this machine."""
        for member in dict.fromkeys((self.train_on, self.test_on)):
            MEMBERS[member](name=member).require()
