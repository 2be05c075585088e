"""BatchViewer: which tokens a step shows to the model, and which documents they are from."""

from pile_tools.viewer.view import BatchViewer, PieceView, RowView

__all__ = ["BatchViewer", "PieceView", "RowView"]
