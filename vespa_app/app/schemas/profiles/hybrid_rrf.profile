rank-profile hybrid_rrf inherits base {

    # Words and meaning by their ranks alone: whoever is well placed in both comes first.

    first-phase {
        expression: candidate
    }

    # 1 with a vector, 0 without.
    function known() {
        expression: if(isNan(semantic), 0, 1)
    }

    # reciprocal_rank(v) = 1 / (60 + rank), ranks from 1, equal ones in first-phase order (60: Cormack,
    # Clarke and Buettcher, SIGIR 2009). Third by words, first by meaning: 1/63 + 1/61 = 0.0323.
    #
    # Without a vector the rank by words counts twice, for meaning too, unless no hit has one: then
    # meaning has no say. Where all are equal normalize_linear(known) is one half; a hit without a
    # vector beside others with one has 0 there.
    global-phase {
        rerank-count: 200
        expression: (reciprocal_rank(lexical, 60) + if(isNan(semantic), if(normalize_linear(known) == 0.5, 0, reciprocal_rank(lexical, 60)), reciprocal_rank(semantic, 60))) * freshness + feature_score
    }
}
