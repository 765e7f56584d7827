import gzip
import math

import pytest

from engine.errors import InvalidInput
from engine.search.evaluation import bootstrap, evaluate, load_beir, ndcg, recall, reciprocal_rank


def test_ndcg_takes_grades_as_gains():
    grades = {"a": 2, "b": 1}
    assert ndcg(["a", "b"], grades) == 1.0
    expected = (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))
    assert ndcg(["b", "a"], grades) == pytest.approx(expected)
    assert ndcg(["x"] * 10 + ["a"], {"a": 1}) == pytest.approx(1 / math.log2(3))


def test_a_document_counts_once_where_it_first_stands():
    assert ndcg(["a", "a", "b"], {"a": 1, "b": 1}) == 1.0
    assert reciprocal_rank(["x", "x", "a"], {"a": 1}) == 0.5
    assert recall(["a", "a"], {"a": 1, "b": 1}) == 0.5


def test_a_query_without_a_ranking_found_nothing():
    metrics = evaluate({"q1": ["a"]}, {"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 0}})
    assert metrics.queries == 2
    assert metrics.ndcg_at_10.mean == 0.5
    assert metrics.as_dict()["recall@100"] == 0.5


def test_the_bootstrap_interval_holds_the_mean():
    estimate = bootstrap([0.0, 1.0] * 50)
    assert estimate.low < estimate.mean == 0.5 < estimate.high
    assert bootstrap([]).mean == 0.0


def write_beir(folder, qrels="q1\td1\t1\n"):
    with gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(
            '{"_id": "d1", "title": "T", "text": "words"}\n\n{"_id": "d2", "text": "more"}\n'
        )
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "what?"}\n', encoding="utf-8")
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}", encoding="utf-8")


def test_a_beir_folder_is_read_plain_or_compressed(tmp_path):
    write_beir(tmp_path)
    beir = load_beir(tmp_path)
    assert beir.corpus["d1"].title == "T"
    assert beir.corpus["d2"].title == ""
    assert beir.queries == {"q1": "what?"}
    assert beir.qrels == {"q1": {"d1": 1}}


@pytest.mark.parametrize(
    ("qrels", "message"),
    [("q1\td1\n", "line 2"), ("q1\td1\tmuch\n", "'much' is not a number"), ("", "no judgement")],
)
def test_bad_judgements_are_named(tmp_path, qrels, message):
    write_beir(tmp_path, qrels)
    with pytest.raises(InvalidInput, match=message):
        load_beir(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"corpus\.jsonl"):
        load_beir(tmp_path)
    write_beir(tmp_path)
    (tmp_path / "queries.jsonl").write_text("no json\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"queries\.jsonl line 1"):
        load_beir(tmp_path)
