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


def test_across_languages_meaning_decides_alone():
    spaces = ["me5_small_int8"] * 2
    clear, close = [parts(0.86, 0.0), parts(0.80, 0.0)], [parts(0.80, 0.0), parts(0.795, 0.0)]

    across = confidences(clear, spaces=spaces, across=[True, True])
    assert across[0] > 0.6
    assert across[1] < 0.1
    assert confidences(close, spaces=spaces, across=[True, True])[0] < 0.3
    assert confidences(clear, spaces=spaces)[0] < across[0]  # the words of its own language lack


def test_a_cosine_counts_as_its_own_space_means_it():
    found = [parts(0.80, 0.5), parts(0.30, 0.5), parts(0.99, 0.5)]
    mixed = confidences(found, spaces=["me5_small_int8", "minilm_l6_v2_fp32", "endpoint_x_384"])

    for place, space in enumerate(["me5_small_int8", "minilm_l6_v2_fp32"]):
        assert mixed[place] == confidences([found[place]], spaces=[space])[0]
    assert mixed[2] == confidences([parts(None, 0.5)])[0]


def test_nothing_found_is_no_confidence():
    assert confidences([]) == []
