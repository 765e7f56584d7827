"""Settings of what is known: models, search, Vespa, and how documents become chunks."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize, Field, SecretStr

from engine.settings.section import HttpUrl, SettingsSection


class EmbeddingSettings(SettingsSection):
    """The model that turns text into vectors."""

    model: str = Field(
        default="minilm",
        min_length=1,
        description='"minilm" runs in this process; with `base_url`, the name the endpoint knows; '
        '"hashing" is free and only good for tests.',
    )
    base_url: HttpUrl = Field(
        default="",
        repr=False,
        description="An OpenAI-compatible endpoint, e.g. http://127.0.0.1:11434/v1.",
    )
    api_key: SecretStr = Field(default=SecretStr(""), description="Key for the endpoint.")
    dimension: int = Field(
        default=0,
        ge=0,
        le=8192,
        description="Length of the endpoint's vectors; required with `base_url`.",
    )
    timeout_s: float = Field(
        default=60, gt=0, le=600, description="Deadline of one call to the endpoint."
    )
    batch_tokens: int = Field(
        default=2048,
        ge=512,
        le=1_000_000,
        description="Tokens embedded in one batch, padding included.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Threads of the model in this process; 0: one less than the cores, at least 1.",
    )
    cache: bool = Field(
        default=True, description="Keep vectors, so that unchanged text is not embedded."
    )


class SearchSettings(SettingsSection):
    """How documents are found and ordered. A knowledge base may have its own."""

    engine: Literal["embedded", "vespa"] = Field(
        default="embedded", description="The search index: in the data folder, or a Vespa cluster."
    )
    alpha: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Weight of meaning against words: 0 words only, 1 meaning only.",
    )
    title_weight: float = Field(
        default=0.3, ge=0, le=1, description="The title's share of the score for words."
    )
    fusion: Literal["linear", "rrf"] = Field(
        default="linear", description="How the two orders become one: by score, or by rank."
    )
    candidates: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Documents each leg contributes before they are fused.",
    )
    top_k: int = Field(
        default=10, ge=1, le=1000, description="Hits of a search that names no number."
    )
    confidence_threshold: float = Field(
        default=0.0, ge=0, le=1, description="Hits less sure than this are left out."
    )
    rerank_base_url: HttpUrl = Field(
        default="",
        repr=False,
        description="A reranker that speaks like Cohere, Jina or TEI. Empty: none.",
    )
    rerank_model: str = Field(default="", description="The name the reranker knows.")
    rerank_api_key: SecretStr = Field(default=SecretStr(""), description="Key for the reranker.")
    rerank_candidates: int = Field(
        default=30, ge=1, le=1000, description="Hits the reranker sees; the rest keep their order."
    )
    rerank_timeout_s: float = Field(
        default=5, gt=0, le=60, description="After this the search keeps its own order."
    )


class VespaSettings(SettingsSection):
    """The Vespa cluster, where `search.engine` is "vespa"."""

    url: HttpUrl = Field(
        default="http://127.0.0.1:8080",
        repr=False,
        description="Where documents are fed and searched: a container node or their balancer.",
    )
    config_url: HttpUrl = Field(
        default="http://127.0.0.1:19071",
        repr=False,
        description="The config server, where the application is deployed.",
    )
    hosts: str = Field(
        default="vespa",
        pattern=r"^[A-Za-z0-9.-]+( *, *[A-Za-z0-9.-]+)*$",
        description="The names the Vespa nodes call themselves, separated by commas.",
    )
    copies: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Copies of each document, on different hosts; 0: two, if there are two hosts.",
    )
    placement: Literal["auto", "dedicated", "pooled"] = Field(
        default="auto",
        description="Where a new tenant's documents go: a schema of its own while there are fewer "
        "than `max_dedicated`, always one of its own, or always one that tenants share.",
    )
    max_dedicated: int = Field(
        default=50,
        ge=0,
        le=100,
        description="Schemas of their own at most; each costs memory and threads on every node.",
    )
    cells: Literal["bfloat16", "float"] = Field(
        default="bfloat16",
        description="How numbers of new spaces' vectors are kept: bfloat16 takes half the memory.",
    )
    http2: bool = Field(
        default=True,
        description="Speak HTTP/2, without TLS too; false behind a proxy that does not.",
    )
    query_timeout_s: float = Field(
        default=5, gt=0, le=60, description="Deadline of one search, all its queries together."
    )
    feed_timeout_s: float = Field(
        default=60, gt=0, le=600, description="Deadline of writing one part of a document."
    )
    deploy_timeout_s: float = Field(
        default=300,
        gt=0,
        le=3600,
        description="How long a new application may take to be in use on every node.",
    )
    ca_file: str = Field(
        default="",
        description="Certificates that Vespa's nodes are checked with. Empty: the system's.",
    )
    certificate_file: str = Field(
        default="", description="The certificate shown to Vespa's nodes, with those it rests on."
    )
    key_file: str = Field(
        default="", description="The key of that certificate. Empty: it is in the same file."
    )
    tls_folder: str = Field(
        default="",
        pattern=r"^$|^/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$",
        description="A folder on the Vespa hosts with key.pem, cert.pem and ca.pem: containers then "
        "listen on port 8443 and take only who shows a certificate that ca.pem vouches for.",
    )


class ProcessingSettings(SettingsSection):
    """How a document becomes chunks."""

    chunk_size: int = Field(
        default=256, ge=16, le=8192, description="Most tokens in a chunk, its context included."
    )
    chunk_overlap: int = Field(
        default=0, ge=0, le=4096, description="Tokens a chunk repeats of the one before it."
    )
    strategy: Literal["document_aware", "fixed", "recursive", "semantic", "sliding_window"] = Field(
        default="document_aware",
        description="Split along headings, tables and code; where the subject changes; or by length.",
    )
    max_file_size: ByteSize = Field(
        default=ByteSize(100_000_000), gt=0, description="The largest document that is taken."
    )
    parse_timeout_s: float = Field(
        default=60, gt=0, le=3600, description="Seconds a document may take to parse."
    )
    parse_memory_mb: int = Field(
        default=2048, ge=128, le=262_144, description="Memory a parser may use, in MB."
    )
    plugins: str = Field(
        default="",
        description="The folder plugins lie in, one folder each; empty: no plugins but installed "
        "packages. Their code runs with all rights of Scrubjay.",
    )
    allow_private_urls: bool = Field(
        default=False, description="Let `add` fetch addresses inside your own network."
    )


class LlmSettings(SettingsSection):
    """The language model that writes answers. None is needed."""

    model: str = Field(
        default="",
        pattern=r"^$|^[a-z]+:.+$",
        description="`openai:<name>`, `anthropic:<name>` or `ollama:<name>`. "
        "Empty: answers are quoted from the documents.",
    )
    base_url: HttpUrl = Field(default="", repr=False, description="Another address for the model.")
    api_key: SecretStr = Field(default=SecretStr(""), description="Key for the model.")
    timeout_s: float = Field(default=60, gt=0, le=600, description="Deadline of one call.")
    max_tokens: int = Field(
        default=1024, ge=1, le=100_000, description="Longest answer, in tokens."
    )
