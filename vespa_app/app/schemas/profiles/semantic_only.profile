rank-profile semantic_only inherits base {

    # Meaning alone: for queries of no words.

    first-phase {
        expression: if(isNan(semantic), 0, semantic)
    }

    # Stretched to [0, 1] like one leg of hybrid_linear; a document without vectors is last.
    global-phase {
        rerank-count: 200
        expression: if(isNan(semantic), 0, normalize_linear(semantic)) * freshness + feature_score
    }
}
