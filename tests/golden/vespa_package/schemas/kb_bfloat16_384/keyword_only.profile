rank-profile keyword_only inherits base {

    # Words alone: for queries in a language the embedder does not know, or without a vector.

    first-phase {
        expression: lexical
    }

    # Stretched to [0, 1] like one leg of hybrid_linear, so that freshness and features mean the same.
    global-phase {
        rerank-count: 200
        expression: normalize_linear(lexical) * freshness + feature_score
    }
}
