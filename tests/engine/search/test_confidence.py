from engine.domain import ScoreParts
from engine.search.confidence import confidences


def parts(cosine: float | None, coverage: float) -> ScoreParts:
    return ScoreParts(0.0, 5.0, 5.0, cosine, coverage, 0.9)


def test_confidence_grows_with_meaning_and_with_words():
    [low], [cosine], [both] = (
        confidences([parts(*p)]) for p in ((0.2, 0.2), (0.7, 0.2), (0.7, 0.9))
    )
    assert 0 < low < cosine < both < 1


def test_confidence_does_not_depend_on_how_many_hits_were_asked_for_below_it():
    best, other = parts(0.7, 0.9), parts(0.3, 0.2)
    assert confidences([best, other])[0] == confidences([best, other, other])[0]


def test_a_close_rival_makes_both_less_sure():
    best = parts(0.7, 0.9)
    assert confidences([best, parts(0.7, 0.85)])[0] < confidences([best, parts(0.2, 0.1)])[0]


def test_words_alone_give_a_confidence_too():
    full, half, none = (confidences([parts(None, share)])[0] for share in (1.0, 0.5, 0.0))
    assert none < 0.1 < half < full


def test_nothing_found_is_no_confidence():
    assert confidences([]) == []
