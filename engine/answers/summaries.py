"""A chat thread in a few sentences, for who could read it themselves: written, or picked out."""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Sequence

from engine.answers.prompts import load_prompt
from engine.errors import InvalidInput, Unavailable
from engine.index.analysis import analyse
from engine.markup.links import sanitise
from engine.markup.sentences import split_sentences
from engine.models.port import LanguageModel

log = logging.getLogger(__name__)

THREAD_CHARS = 16_000
POINTS = 4
POINT_MAX = 300


async def summarise(model: LanguageModel | None, said: Sequence[tuple[str, str]]) -> str:
    """What a thread says; `said` is author and text of each message, oldest first."""
    said = [(author, text.strip()) for author, text in said if text.strip()]
    if not said:
        raise InvalidInput("There is nothing to summarise in this thread.", field="thread")
    if model is not None:
        try:
            return await _written(model, said)
        except Unavailable as error:
            log.warning("the language model failed", extra={"reason": str(error)})
    return picked_out(said)


async def _written(model: LanguageModel, said: Sequence[tuple[str, str]]) -> str:
    fence = secrets.token_hex(6)
    lines = "\n".join(f"{author}: {text}" for author, text in said)[-THREAD_CHARS:]
    prompt = f"<<<{fence} thread\n{lines}\n{fence}>>>"
    written = (await model.complete(load_prompt("summary"), prompt, max_tokens=400)).text
    return sanitise(written.strip(), sources=[lines]) or picked_out(said)


def picked_out(said: Sequence[tuple[str, str]]) -> str:
    """The first message, and the sentences after it that share most words with the others."""
    counts: Counter[str] = Counter()
    sentences: list[tuple[int, str, str, set[str]]] = []
    for place, (author, text) in enumerate(said):
        for sentence in split_sentences(text):
            words = text[sentence.start : sentence.end].strip()
            terms = set(analyse(words, "en"))
            counts.update(terms)
            sentences.append((place, author, words, terms))
    later = [sentence for sentence in sentences if sentence[0] > 0 and len(sentence[3]) > 2]
    later.sort(key=lambda item: -sum(counts[term] - 1 for term in item[3]) / len(item[3]) ** 0.5)
    chosen = sorted(later[:POINTS], key=lambda item: item[0])
    first_author, first = said[0]
    noun = "reply" if len(said) == 2 else "replies"
    out = [f"**{first_author}**: {_cut(first)}", f"{len(said) - 1} {noun}; what stands out:"]
    out += [f"• **{author}**: {_cut(words)}" for _, author, words, _ in chosen]
    if not chosen:
        out[1:] = ["Nobody has said more yet."] if len(said) == 1 else [out[1]]
        out += [f"• **{author}**: {_cut(text)}" for author, text in said[1:4]]
    return sanitise("\n".join(out), sources=[text for _, text in said])


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= POINT_MAX else text[: POINT_MAX - 1] + "…"
