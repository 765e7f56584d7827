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
        description='The embedding model of new knowledge bases: "minilm", the faster '
        '"minilm-int8" (both English) and "multilingual" (100 languages) run in this process, "hashing" is only for tests. With '
        "`base_url`, the endpoint's name of the model.",
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
        description="Dimension of the endpoint's vectors; required with `base_url`.",
    )
    timeout_s: float = Field(
        default=60, gt=0, le=600, description="Timeout of a call to the endpoint, in seconds."
    )
    batch_tokens: int = Field(
        default=2048,
        ge=512,
        le=1_000_000,
        description="Tokens embedded in a batch, including padding.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Threads of the model in this process; 0: one fewer than the cores, at least "
        "1.",
    )
    cache: bool = Field(
        default=True, description="Cache vectors, so that unchanged text is not embedded again."
    )


class SearchSettings(SettingsSection):
    """How documents are searched and ranked. A knowledge base can override some of it."""

    engine: Literal["embedded", "vespa"] = Field(
        default="embedded", description="The search index: in the data folder, or a Vespa cluster."
    )
    alpha: float = Field(
        default=0.65,
        ge=0,
        le=1,
        description="Weight of semantic against keyword search: 0 is keyword only, 1 is semantic "
        "only.",
    )
    title_weight: float = Field(
        default=0.3, ge=0, le=1, description="Weight of the title in the keyword score."
    )
    fusion: Literal["linear", "rrf"] = Field(
        default="linear", description="How the two rankings are fused: by score or by rank."
    )
    candidates: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Documents that each ranking contributes.",
    )
    top_k: int = Field(default=10, ge=1, le=1000, description="Default number of hits.")
    confidence_threshold: float = Field(
        default=0.0, ge=0, le=1, description="Minimum confidence of a hit."
    )
    rerank_base_url: HttpUrl = Field(
        default="",
        repr=False,
        description="URL of a reranker with the API of Cohere, Jina or TEI. Empty: none.",
    )
    rerank_model: str = Field(default="", description="The reranker's name of the model.")
    rerank_api_key: SecretStr = Field(default=SecretStr(""), description="Key for the reranker.")
    rerank_candidates: int = Field(
        default=30,
        ge=1,
        le=1000,
        description="Number of hits to rerank; the rest keep their order.",
    )
    rerank_timeout_s: float = Field(
        default=5,
        gt=0,
        le=60,
        description="Seconds to wait for the reranker; after that the hits keep their original "
        "order.",
    )


class VespaSettings(SettingsSection):
    """The Vespa cluster, where `search.engine` is "vespa"."""

    url: HttpUrl = Field(
        default="http://127.0.0.1:8080",
        repr=False,
        description="URL for feeding and searching: a container node or the load balancer.",
    )
    config_url: HttpUrl = Field(
        default="http://127.0.0.1:19071",
        repr=False,
        description="URL of the config server.",
    )
    hosts: str = Field(
        default="vespa",
        pattern=r"^[A-Za-z0-9.-]+( *, *[A-Za-z0-9.-]+)*$",
        description="Hostnames of the Vespa nodes, as `hostname` prints them, separated by commas.",
    )
    copies: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Copies of each document, on different hosts; 0: two, if there are two hosts.",
    )
    placement: Literal["auto", "dedicated", "pooled"] = Field(
        default="auto",
        description="Where a new tenant's documents go: a dedicated schema while there are fewer "
        "than `max_dedicated` (auto), always a dedicated one, or always the pool.",
    )
    max_dedicated: int = Field(
        default=50,
        ge=0,
        le=100,
        description="Maximum number of dedicated schemas; each costs memory and threads on every "
        "node.",
    )
    cells: Literal["bfloat16", "float"] = Field(
        default="bfloat16",
        description="Number format of vectors in new spaces: bfloat16 needs half the memory.",
    )
    http2: bool = Field(
        default=True,
        description="Use HTTP/2, even without TLS; set to false behind a proxy that doesn't "
        "support it.",
    )
    query_timeout_s: float = Field(
        default=5, gt=0, le=60, description="Timeout of a search with all its queries, in seconds."
    )
    feed_timeout_s: float = Field(
        default=60,
        gt=0,
        le=600,
        description="Timeout of writing one part of a document, in seconds.",
    )
    deploy_timeout_s: float = Field(
        default=300,
        gt=0,
        le=3600,
        description="Seconds to wait until every node uses a new application.",
    )
    ca_file: str = Field(
        default="",
        description="File with the CA certificates to verify Vespa's nodes. Empty: the system's.",
    )
    certificate_file: str = Field(
        default="", description="The client certificate for Vespa, with its chain."
    )
    key_file: str = Field(
        default="", description="The key of that certificate. Empty: it is in the same file."
    )
    tls_folder: str = Field(
        default="",
        pattern=r"^$|^/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$",
        description="A folder on the Vespa hosts with key.pem, cert.pem and ca.pem: containers "
        "then listen on port 8443 and accept only clients with a certificate from ca.pem.",
    )


class ProcessingSettings(SettingsSection):
    """How a document becomes chunks."""

    chunk_size: int = Field(
        default=256, ge=16, le=8192, description="Maximum tokens in a chunk, including its context."
    )
    chunk_overlap: int = Field(
        default=0, ge=0, le=4096, description="Tokens a chunk repeats from the previous one."
    )
    strategy: Literal["document_aware", "fixed", "recursive", "semantic", "sliding_window"] = Field(
        default="document_aware",
        description="How to split: at headings, tables and code, where the subject changes, or "
        "by length.",
    )
    max_file_size: ByteSize = Field(
        default=ByteSize(100_000_000), gt=0, description="Maximum size of a document."
    )
    supported_formats: str = Field(
        default="",
        pattern=r"^$|^ *\.?[A-Za-z0-9+_-]{1,20}( *, *\.?[A-Za-z0-9+_-]{1,20})* *$",
        description="Endings of the files that are accepted, separated by commas, e.g. "
        '"pdf, docx, md". Empty: all that can be read. A knowledge base can accept fewer.',
    )
    parse_timeout_s: float = Field(
        default=60, gt=0, le=3600, description="Timeout for parsing a document, in seconds."
    )
    parse_memory_mb: int = Field(
        default=2048, ge=128, le=262_144, description="Memory limit of a parser, in MB."
    )
    plugins: str = Field(
        default="",
        description="The folder with plugins, one folder per plugin. Empty: only plugins from "
        "installed packages. Plugin code runs with all of Scrubjay's rights.",
    )
    allow_private_urls: bool = Field(
        default=False, description="Allow Scrubjay to fetch URLs inside your own network."
    )


class SourceSettings(SettingsSection):
    """What connected sources may read."""

    folders: str = Field(
        default="",
        description="Folders of this machine that sources may read, separated by commas. Empty: "
        "none.",
    )


class LlmSettings(SettingsSection):
    """The language model that writes answers (optional)."""

    model: str = Field(
        default="",
        pattern=r"^$|^[a-z]+:.+$",
        description="`openai:<name>`, `anthropic:<name>` or `ollama:<name>`. "
        "Empty: answers are quoted from the documents.",
    )
    base_url: HttpUrl = Field(
        default="",
        repr=False,
        description="Base URL of the model's API, if it is not the provider's.",
    )
    api_key: SecretStr = Field(default=SecretStr(""), description="Key for the model.")
    timeout_s: float = Field(default=60, gt=0, le=600, description="Timeout of a call, in seconds.")
    catalogue: str = Field(
        default="",
        description="A JSON file of models, what they can do and their prices, laid over the list"
        " that ships. Empty: none.",
    )
    max_tokens: int = Field(
        default=1024, ge=1, le=100_000, description="Maximum length of an answer, in tokens."
    )
    unsupported: Literal["drop", "mark"] = Field(
        default="drop",
        description="Handling of sentences that no source carries: `drop` leaves them out, `mark` "
        "shows them with a note.",
    )
    tools: Literal["auto", "text"] = Field(
        default="auto",
        description="How the model asks for more passages: `auto` by native tool calls if its "
        "endpoint takes them, `text` always by a line of text.",
    )
