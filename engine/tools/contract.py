"""What a tool of a plugin is. Plugins import from here, and nothing else of it changes lightly.

class Weather(LLMToolPlugin):
@classmethod
def get_metadata(cls) -> LLMToolMetadata:
return LLMToolMetadata(
name="weather",
description="The weather in a city.",
parameters={"city": LLMToolParameter(type="string", required=True)},
)

def invoke(self, **kwargs: Any) -> str:
return look_up(kwargs["city"])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

ParameterType = Literal["string", "integer", "number", "boolean", "array", "object"]
NAME = r"[a-z][a-z0-9_-]{0,59}"
DESCRIPTION_MAX = 1_000  # characters: a model reads all of them in each question


class LLMToolParameter(BaseModel):
    """An argument of a tool. `displayDescription` is for people; empty: `description`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ParameterType = "string"
    description: str = Field(default="", max_length=DESCRIPTION_MAX)
    displayDescription: str = Field(default="", max_length=DESCRIPTION_MAX)  # noqa: N815 (RAGFlow's)
    required: bool = False


class LLMToolMetadata(BaseModel):
    """A tool as models and people see it. `displayName` and `displayDescription` are for people.

    `effect` says what calling it does: a workflow repeats what only reads, and calls what writes
    once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=rf"^{NAME}$")
    displayName: str = Field(default="", max_length=100)  # noqa: N815 (RAGFlow's)
    description: str = Field(min_length=1, max_length=DESCRIPTION_MAX)
    displayDescription: str = Field(default="", max_length=DESCRIPTION_MAX)  # noqa: N815 (RAGFlow's)
    parameters: Mapping[str, LLMToolParameter] = Field(default_factory=dict, max_length=30)
    effect: Literal["read", "write"] = "write"

    def schema_of_arguments(self) -> dict[str, Any]:
        """The JSON schema of the arguments, as language models and MCP clients take it."""
        return {
            "type": "object",
            "properties": {
                name: {"type": item.type}
                | ({"description": item.description} if item.description else {})
                for name, item in self.parameters.items()
            },
            "required": [name for name, item in self.parameters.items() if item.required],
            "additionalProperties": False,
        }


class ToolConfig(BaseModel):
    """What the operator sets for a tool in `plugins.toml`; a tool with settings has a subclass."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LLMToolPlugin(ABC):
    """A tool. One instance serves all calls, from several threads at once."""

    Config: ClassVar[type[ToolConfig]] = ToolConfig

    def __init__(self, config: ToolConfig) -> None:
        self.config = config

    @classmethod
    @abstractmethod
    def get_metadata(cls) -> LLMToolMetadata:
        """What it is called, what it does and what it takes."""

    @abstractmethod
    def invoke(self, **kwargs: Any) -> str:  # noqa: ANN401 (as its parameters say)
        """Do it, with arguments that fit the parameters; the text is for the model.

        A `ValueError` tells the caller what was wrong with what they gave.
        """
