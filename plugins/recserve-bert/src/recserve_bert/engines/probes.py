"""Fixed texts that an 8-bit model is calibrated and judged with, and the judging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_COSINE = 0.98
LEAST_OVERLAP = 0.9
_NEIGHBOURS = 10

# What calibrates must not judge: these only show how large activations get.
CALIBRATION = (
    "A detective follows a thief through the city at night.",
    "Sunday morning: coffee, 2 eggs & toast for $9.99",
    "x",
    "How do I reset my password?",
    "Stainless steel water bottle, 750 ml",
    "Breaking: markets fall as rates rise again",
    "The quick brown fox jumps over the lazy dog.",
    "我喜欢看电影",
    "他在图书馆里读一本关于历史的书。",
    "A wireless keyboard with a backlight and three years of warranty, for tablets and phones. " * 6,
)

_SHORT = (
    "Toy Story. Adventure, Animation, Children, Comedy, Fantasy",
    "Finding Nemo. Adventure, Animation, Children, Comedy",
    "Monsters, Inc. Adventure, Animation, Children, Comedy, Fantasy",
    "Heat. Action, Crime, Thriller",
    "The Godfather. Crime, Drama",
    "Pulp Fiction. Comedy, Crime, Drama, Thriller",
    "Alien. Horror, Sci-Fi",
    "Blade Runner. Action, Sci-Fi, Thriller",
    "Casablanca. Drama, Romance",
    "Titanic. Drama, Romance",
    "Running shoes for women, size 38, light blue",
    "Trail running shoes, waterproof",
    "Leather hiking boots for men",
    "Cotton T-shirt, white, pack of three",
    "Wool winter coat with hood",
    "Espresso machine with milk frother",
    "Coffee beans, dark roast, 1 kg",
    "Green tea, 100 bags",
    "Non-stick frying pan, 28 cm",
    "Chef's knife, stainless steel",
    "Noise cancelling headphones, wireless",
    "Bluetooth speaker, waterproof",
    "USB-C charger, 65 W",
    "Mechanical keyboard, brown switches",
    "Laptop 14 inch, 16 GB memory, 512 GB disk",
    "Introduction to statistical learning",
    "Linear algebra for beginners",
    "A history of the Roman empire",
    "Cooking with vegetables: 100 recipes",
    "Learn to play the guitar in 30 days",
    "how to fix a flat bicycle tyre",
    "best restaurants near the station",
    "cheap flights to Lisbon in May",
    "Central bank raises interest rates by a quarter point",
    "Local team wins the cup after penalty shoot-out",
    "New telescope finds water on a distant planet",
    "a",
    "!!! 50% OFF !!!",
)
_CHINESE = (
    "动作片：警察追捕银行劫匪",
    "爱情电影，讲述两个年轻人的故事",
    "适合孩子看的动画片",
    "中国历史上最有名的皇帝",
    "无线蓝牙耳机，降噪，续航三十小时",
    "纯棉短袖T恤，男士，夏季",
    "四川火锅底料，麻辣味",
    "学习机器学习的入门书",
    "北京今天下雪，气温下降",
    "如何在家里做咖啡",
)
_LONG = (
    "After her father disappears at sea, a young lighthouse keeper finds letters that lead her across the "
    "country. On the way she meets a retired captain, a runaway boy and a woman who knew her mother.",
    "The committee met on Tuesday to discuss the budget for schools, roads and hospitals. Members agreed "
    "that repairs could not wait, but not on who should pay for them, and put off the vote until next month.",
    "This jacket keeps you dry in heavy rain and lets moisture out while you climb. Seams are taped, the "
    "hood fits over a helmet, and two chest pockets stay within reach when you wear a backpack.",
    "Preheat the oven to 200 degrees. Cut the vegetables into pieces of equal size, mix them with oil, salt "
    "and herbs, and roast them for forty minutes, turning them once. Serve with bread and yoghurt.",
    "We study how people choose what to watch when there is more than they could ever see. Experiments with "
    "two thousand users show that short lists are used more, and that explanations raise trust.",
    "这部电影讲述了一个小镇医生在战争年代救助伤员的故事。他失去了家人，却没有放弃希望，"
    "最后在朋友的帮助下找到了失散多年的女儿。",
)
PROBES = (*_SHORT, *_CHINESE, *_LONG, *((one + " ") * 5 for one in _LONG))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How close vectors are to those of the full model, over the probes.

    Attributes:
        cosine_min: Of the text that differs most.
        cosine_mean: Over all texts.
        overlap: Share of each text's ten nearest neighbours that stay among them, the mean over texts.
    """

    cosine_min: float
    cosine_mean: float
    overlap: float

    @property
    def good(self) -> bool:
        """Whether the vectors may be used."""
        return self.cosine_min >= LEAST_COSINE and self.overlap >= LEAST_OVERLAP

    def __str__(self) -> str:
        return (
            f"cosine at least {self.cosine_min:.4f} (needed {LEAST_COSINE}), mean {self.cosine_mean:.4f}; "
            f"{self.overlap:.1%} of the ten nearest neighbours stay (needed {LEAST_OVERLAP:.0%})"
        )


def judge(vectors: NDArray[np.float32], full: NDArray[np.float32]) -> Verdict:
    """Compare unit vectors of the same texts.

    Args:
        vectors: Of the model to judge, shape (n, d).
        full: Of the full model, shape (n, d).
    """
    cosines = np.nan_to_num((vectors * full).sum(axis=1), nan=-1.0)
    shared = [len(set(one) & set(two)) for one, two in zip(_near(vectors), _near(full), strict=True)]
    overlap = float(np.mean(shared)) / min(_NEIGHBOURS, max(len(full) - 1, 1))
    return Verdict(float(cosines.min()), float(cosines.mean()), overlap)


def _near(vectors: NDArray[np.float32]) -> list[list[int]]:
    """The ten nearest others of each row."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    near: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[
        :, : min(_NEIGHBOURS, len(vectors) - 1)
    ].tolist()
    return near
