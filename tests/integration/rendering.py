"""A DAG that passes a param to tasks in every way that there is, and tells which of them render it as a template."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_provider_tenable._compat import BaseNotifier, BaseOperator, Param, dag, pause, task


def tell(way: str, value: Any) -> None:
    print("SHOWN", way, "literal" if "{{" in str(value) else "rendered", flush=True)


class Show(BaseOperator):
    """Tells what its fields have become."""

    template_fields = ("field", "nested")

    def __init__(
        self, *, field: Any = None, nested: Any = None, plain: Any = None, waits: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.field = field
        self.nested = nested
        self.plain = plain
        self.waits = waits

    def execute(self, context: Any) -> None:
        if self.waits:
            self.defer(trigger=pause(0.1), method_name="resume")
        self.resume(context)

    def resume(self, context: Any, event: Any = None) -> None:
        for name in ("field", "nested", "plain"):
            if getattr(self, name) is not None:
                tell(f"{self.task_id}.{name}", getattr(self, name))


class Notify(BaseNotifier):
    template_fields = ("message",)

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def notify(self, context: Any) -> None:
        tell("notifier", self.message)


@dag(
    dag_id="rendering",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"text": Param("", type="string")},
)
def rendering() -> None:
    @task
    def source(**context: Any) -> list[dict[str, Any]]:
        text = context["params"]["text"]
        return [{"field": text, "nested": {"a": [text]}, "plain": text}]

    @task
    def arguments(**context: Any) -> list[dict[str, Any]]:
        return [{"first": context["params"]["text"]}]

    @task
    def taskflow(first: Any, **context: Any) -> None:
        tell(context["task"].task_id, first)

    @task
    def notifies(**context: Any) -> None:
        Notify(context["params"]["text"])(context)

    values: Any = source()
    Show(task_id="argument", field=values, nested={"a": [values]})
    values >> Show(task_id="template", field="{{ params.text }}", nested=["{{ ti.xcom_pull('source') }}"])
    Show(task_id="resumed", field=values, waits=True)
    Show.partial(task_id="expand", field=values, map_index_template="{{ params.text }}").expand(nested=values)
    Show.partial(task_id="expand_plain", map_index_template="{{ task.plain['field'] }}").expand(plain=values)
    Show.partial(task_id="expand_kwargs").expand_kwargs(values)
    taskflow.override(task_id="taskflow")(values)
    taskflow.override(task_id="taskflow_expand").expand(first=values)
    taskflow.override(task_id="taskflow_expand_kwargs").expand_kwargs(arguments())
    notifies()


dag = rendering()
