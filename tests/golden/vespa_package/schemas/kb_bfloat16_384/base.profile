rank-profile base {

    # Every score part, once. The four profiles that searches name inherit this one and say only how the
    # parts become an order. Numbers in the examples are one hit: a title and three chunks.

    # A query input that is used and not declared is refused at deployment.
    strict: true

    inputs {
        query(q) tensor<float>(x[384])    # the query's embedding, of length 1
        query(alpha) double: 0.7                # weight of meaning against words
        query(title_weight) double: 0.3         # the title's share of the words' score
        query(feature_weights) tensor<double>(f{})
        query(half_life_s) double: 0            # of freshness; 0: no decay
        query(decay_floor) double: 0.5          # how low freshness may fall
        query(now_s) double: 0                  # the caller's present; 0: this node's
        query(passages) double: 3               # best chunks returned of a hit
    }

    # No `weakand { stopword-limit }` and no `filter-threshold`: both are faster on large corpora
    # because they stop counting common words, and in a small tenant's every word is common. The
    # queries come without function words as it is.

    # Words. BM25 with k1 = 1.2, b = 0.75, and Lucene's idf; an absent word counts nothing.
    # bm25(title_terms) = 4.2
    function bm25_title() {
        expression: bm25(title_terms)
    }

    # BM25 of each chunk as a text of its own. Chunks without a word of the query are absent:
    # {chunk:0} = 3.1, {chunk:2} = 7.4
    function chunk_bm25() {
        expression: elementwise(bm25(chunk_terms), chunk, double)
    }

    # The best chunk speaks for the document, as long documents would win by length otherwise:
    # max(3.1, 7.4) = 7.4; with no chunk at all 0, and not the minus infinity of an empty maximum.
    function bm25_chunk() {
        expression: if(reduce(chunk_bm25, count) > 0, reduce(chunk_bm25, max), 0)
    }

    # 0.3 · 4.2 + 0.7 · 7.4 = 6.44
    function lexical() {
        expression: query(title_weight) * bm25_title + (1 - query(title_weight)) * bm25_chunk
    }

    # Meaning. The nearestNeighbor item `dense` gives closeness = 1 / (1 + (1 - cosine)) of the
    # nearest chunk, also for hits that only words found, so cosine = 2 - 1 / closeness:
    # closeness 0.8 is cosine 0.75. Without a vector closeness is 0 and the cosine is not a number,
    # which is not the same as a bad one.
    function semantic() {
        expression: if(closeness(label, dense) > 0, 2 - 1 / closeness(label, dense), 0 / 0)
    }

    # What the score is multiplied by: 1 when new, halfway to the floor after a half-life. No decay
    # is asked for, or the source gives no date (-2^62 µs): 1. From the future: 1.
    # Floor 0.5, one half-life old: 0.5 + 0.5 · 0.5 = 0.75
    function freshness() {
        expression: if(query(half_life_s) > 0 && attribute(updated_at) > -2305843009213693952, query(decay_floor) + (1 - query(decay_floor)) * pow(0.5, age_s / query(half_life_s)), 1)
    }

    function age_s() {
        expression: max(0, if(query(now_s) > 0, query(now_s), now) - attribute(updated_at) / 1000000)
    }

    # What is added: {f:pagerank} 0.2 at weight 0.5 gives 0.1. What has no weight counts nothing.
    function feature_score() {
        expression: sum(query(feature_weights) * attribute(features))
    }

    # The order in which hits reach the global phase, and who does while there are more than its
    # rerank-count: words saturate (10 is a good score), so that neither leg drowns the other.
    # 0.7 · 0.75 + 0.3 · 6.44 / 16.44 = 0.64
    function candidate() {
        expression: query(alpha) * if(isNan(semantic), 0, semantic) + (1 - query(alpha)) * lexical / (lexical + 10)
    }

    # The best passages. `merge` keeps a chunk that only one leg knows; a product or a sum of the two
    # tensors would drop it. {chunk:0} = 0.61, {chunk:1} = 0.2 (no word), {chunk:2} = 0.65
    function chunk_cosine() {
        expression: reduce(query(q) * attribute(embeddings), sum, x)
    }

    function chunk_words() {
        expression: map(chunk_bm25, f(b)(b / (b + 10)))
    }

    function chunk_scores() {
        expression: merge(query(alpha) * chunk_cosine, (1 - query(alpha)) * chunk_words, f(a,b)(a + b))
    }

    # Labels are places in the arrays, which is how the summary `hit` picks elements.
    # The best two of the three above: {chunk:0} = 0.61, {chunk:2} = 0.65
    function passages() {
        expression: top(query(passages), chunk_scores)
    }

    function passage_bm25() {
        expression: join(passages, chunk_bm25, f(a,b)(b))
    }

    function passage_cosine() {
        expression: join(passages, chunk_cosine, f(a,b)(b))
    }

    match-features {
        bm25_title
        bm25_chunk
        lexical
        semantic
        freshness
        feature_score
    }

    # Computed for returned hits only: it is work for each chunk.
    summary-features {
        passages
        passage_bm25
        passage_cosine
    }
}
