"""AVQA in pages: questions about a clip, with true and predicted answers."""

from __future__ import annotations

from ...shards.members import member, question_text, read_questions, type_name
from ...shards.schema import DatasetInfo, question_types
from .base import AskedQuestion, ClipRows, DetailTable, PredictedAnswer, PredictedClip, TaskView, in_order


class AvqaView(TaskView):
    """Questions and answers."""

    lead = "Answers to questions about clips"
    hub_task = "visual-question-answering"
    score_label = "accuracy"
    clip_score = "of the questions right"
    detail = DetailTable(
        "Questions by type",
        "The share of each type's questions that are answered right",
        "type",
        "questions",
    )
    filter_word = "question type"
    lists_names = False

    def predicted_rows(self, clip: PredictedClip) -> ClipRows:  # noqa: ARG002
        return ClipRows()

    def answers(self, clip: PredictedClip) -> tuple[PredictedAnswer, ...]:
        names = clip.info.vocabulary["answers"]
        shares = clip.outputs["answer_logits"].softmax(-1)
        asked = read_questions(member(clip.members, "qa.json"))
        rows = zip(asked, shares.argmax(-1).tolist(), shares.max(-1).values, strict=True)
        return tuple(
            PredictedAnswer(question_text(one), one["answer"], names[predicted], float(share))
            for one, predicted, share in rows
        )

    def filter_names(self, info: DatasetInfo) -> list[str]:
        return list(question_types(info.vocabulary))

    def names_of(self, info: DatasetInfo, members: dict[str, bytes]) -> tuple[str, ...]:  # noqa: ARG002
        return in_order(type_name(asked) for asked in read_questions(member(members, "qa.json")))

    def questions(self, members: dict[str, bytes]) -> tuple[AskedQuestion, ...]:
        asked = read_questions(member(members, "qa.json"))
        return tuple(AskedQuestion(question_text(one), one["answer"], type_name(one)) for one in asked)


VIEW = AvqaView()
