"""What an ingestion pipeline is made of. The tuple below is all of it, one name a line."""

from __future__ import annotations

from ingestion.components.embedder import EmbedderComponent
from ingestion.components.extractor import Extractor
from ingestion.components.file import File
from ingestion.components.hierarchical_merger import HierarchicalMerger
from ingestion.components.indexer import Indexer
from ingestion.components.language_detector import LanguageDetector
from ingestion.components.metadata import Metadata
from ingestion.components.parser import Parser
from ingestion.components.quality_control import QualityControl
from ingestion.components.question_answer import QuestionAnswer
from ingestion.components.splitter import Splitter
from ingestion.components.tokenizer import Tokenizer

COMPONENTS = (
    EmbedderComponent,
    Extractor,
    File,
    HierarchicalMerger,
    Indexer,
    LanguageDetector,
    Metadata,
    Parser,
    QualityControl,
    QuestionAnswer,
    Splitter,
    Tokenizer,
)
