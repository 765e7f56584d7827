rank-profile hybrid_linear inherits base {

    # Words and meaning, each stretched to [0, 1] over all candidates, weighed by alpha.

    first-phase {
        expression: candidate
    }

    # normalize_linear(v) = 0.5 + (v - (min + max) / 2) / (max - min); all equal: 0.5; NaN is left
    # out. A document whose vectors are on their way has its words stand for its meaning too, so it
    # is neither favoured nor hidden meanwhile. Words at 0.9, meaning at 0.4, alpha 0.7:
    # 0.7 · 0.4 + 0.3 · 0.9 = 0.55; three quarters fresh and 0.1 of features: 0.5125
    #
    # Both legs must fit: 200 is twice the 100 candidates a leg has by default. Searches with more
    # say so with ranking.globalPhase.rerankCount.
    global-phase {
        rerank-count: 200
        expression: (query(alpha) * if(isNan(semantic), normalize_linear(lexical), normalize_linear(semantic)) + (1 - query(alpha)) * normalize_linear(lexical)) * freshness + feature_score
    }
}
