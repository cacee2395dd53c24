"""Services as tools for programs that speak the Model Context Protocol.

Needs the extra `mcp`. docs/mcp.md tells how tools are named, called and bounded.
"""

from .calling import ToolLimits
from .server import serve_tools

__all__ = ["ToolLimits", "serve_tools"]
