"""Every operator of the package keeps to what Airflow asks of one: fields that are rendered, hooks that are made late,
constructors that do nothing else.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import textwrap
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

import airflow_provider_tenable.operators as package
from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, BaseOperator, BaseOperatorLink
from airflow_provider_tenable.provider_info import get_provider_info

#: What Airflow shows as more than plain text, in all its versions.
RENDERERS = {
    "bash",
    "bash_command",
    "doc",
    "doc_json",
    "doc_md",
    "doc_rst",
    "doc_yaml",
    "hql",
    "html",
    "jinja",
    "json",
    "md",
    "mysql",
    "postgresql",
    "powershell",
    "py",
    "python_callable",
    "rst",
    "sql",
    "tsql",
    "yaml",
}


def _operators() -> list[type[Any]]:
    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    classes = [
        each
        for module in modules
        for each in vars(module).values()
        if inspect.isclass(each) and each.__module__ == module.__name__
    ]
    # What several operators share does not run by itself.
    return [each for each in classes if issubclass(each, BaseOperator) and each.execute is not BaseOperator.execute]


OPERATORS = _operators()
every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=lambda each: each.__name__)


def _written_here(operator: type[Any]) -> list[type[Any]]:
    """The operator, and what it shares with others of this package: the classes with a constructor of their own."""
    return [
        each
        for each in operator.__mro__
        if each.__module__.startswith(f"{package.__name__}.") and "__init__" in vars(each)
    ]


def _own_parameters(operator: type[Any]) -> dict[str, inspect.Parameter]:
    """Those of the constructor that is written in the class: Airflow wraps it."""
    parameters = inspect.signature(inspect.unwrap(operator.__init__)).parameters
    return {name: each for name, each in parameters.items() if name not in ("self", "kwargs")}


def _parameters(operator: type[Any]) -> dict[str, inspect.Parameter]:
    """Those of its constructor, and of those that it passes further arguments on to."""
    return {name: found for each in _written_here(operator) for name, found in _own_parameters(each).items()}


def _tree(function: Any) -> ast.FunctionDef:
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body
    assert isinstance(tree, ast.FunctionDef)
    return tree


def test_all_operators_are_looked_at():
    modules = {name for entry in get_provider_info()["operators"] for name in entry["python-modules"]}
    assert {each.__module__ for each in OPERATORS} == modules
    assert len(OPERATORS) >= 3


@every_operator
def test_templated_fields_are_arguments_that_are_kept_under_their_own_name(operator):
    parameters = _parameters(operator)
    assert len(set(operator.template_fields)) == len(operator.template_fields)
    assert set(operator.template_fields) <= set(parameters)
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters.values())


@every_operator
def test_the_constructor_keeps_its_arguments_and_does_nothing_else(operator):
    # So there is no input or output in it, and no logic on what is rendered only later.
    kept = set()
    for statement in [statement for each in _written_here(operator) for statement in _tree(each.__init__).body]:
        if ast.unparse(statement) == "super().__init__(**kwargs)":
            continue
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=ast.Name(id=argument)):
                # Only what is not rendered may have another name.
                assert argument == name or (argument == name.lstrip("_") and argument not in operator.template_fields)
                kept.add(argument)
            case ast.AnnAssign(
                target=ast.Attribute(value=ast.Name(id="self"), attr=name), value=ast.Constant(value=None)
            ):
                assert name.startswith("_")
            case _:
                raise AssertionError(ast.unparse(statement))
    assert kept == set(_parameters(operator))


@every_operator
def test_execute_is_written_in_the_class_of_the_operator(operator):
    # Airflow 2 wraps it there only, and passes it an argument that one of a mixin does not know.
    assert "execute" in vars(operator)


@every_operator
def test_renderers_are_known_and_those_of_templated_fields(operator):
    assert set(operator.template_fields_renderers) <= set(operator.template_fields)
    assert set(operator.template_fields_renderers.values()) <= RENDERERS
    if not AIRFLOW_V_3_0_PLUS:
        with warnings.catch_warnings():
            # Of Flask, while it is imported.
            warnings.simplefilter("ignore")
            from airflow.www.utils import get_attr_renderer
        assert set(operator.template_fields_renderers.values()) <= set(get_attr_renderer())


@every_operator
def test_fields_that_are_objects_are_shown_as_json(operator):
    # The others are named types of dictionaries: what one task hands to the next.
    kinds = ("dict", "list", "ExportResult", "PublicPlan", "ShardTask")
    objects = {name for name, each in _parameters(operator).items() if str(each.annotation).startswith(kinds)}
    shown = {name for name, renderer in operator.template_fields_renderers.items() if renderer == "json"}
    assert {name for name in operator.template_fields if name in objects} == shown


@every_operator
def test_the_hook_is_made_when_it_is_first_asked_for(operator):
    if operator.__name__ in (
        "SecurityHubArchiveFindingsOperator",
        "SecurityHubAuditOperator",
        "SecurityHubTakeOverOperator",
    ):
        # It has none: it reaches each hub of its group with a hook of that hub.
        assert inspect.getattr_static(operator, "hook", None) is None
        return
    assert isinstance(inspect.getattr_static(operator, "hook"), functools.cached_property)
    assert "Hook" in str(operator.hook.func.__annotations__["return"])


@every_operator
def test_every_argument_is_documented_and_templated_ones_are_marked(operator):
    documented = dict(
        part.split(":", 1) for each in _written_here(operator) for part in f"\n{each.__doc__}".split(":param ")[1:]
    )
    assert set(documented) == set(_parameters(operator))
    assert {name for name, text in documented.items() if "(templated)" in text} == set(operator.template_fields)


@every_operator
def test_links_are_links_that_the_provider_registers(operator):
    links = getattr(operator, "operator_extra_links", ())
    registered = get_provider_info()["extra-links"]
    for link in links:
        assert isinstance(link, BaseOperatorLink)
        assert link.name
        assert f"{type(link).__module__}.{type(link).__name__}" in registered


def test_the_import_has_a_link_to_its_findings():
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator

    [link] = SecurityHubImportFindingsOperator(
        task_id="x", account="111122223333", region="eu-west-1"
    ).operator_extra_links
    assert link.name == "Findings in Security Hub"


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        ({"account": "111122223333", "region": "eu-west-1"}, "111122223333/eu-west-1"),
        ({"group": 4, "title": "111122223333/eu-west-1 and 3 more"}, "111122223333/eu-west-1 and 3 more"),
        ({"group": 4}, "group 4"),
    ],
)
def test_an_import_is_called_by_what_it_imports_into(arguments, title):
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator

    shared = {"batch_size": 10, "dry_run": False}
    assert SecurityHubImportFindingsOperator(task_id="x", **arguments).title == title
    assert SecurityHubImportFindingsOperator(task_id="x", assignment={**arguments, **shared}).title == title


@pytest.mark.parametrize(
    "change", [{"account": "1"}, {"region": "x"}, {"role_name": "{{ conn.x }}"}, {"aws_conn_id": "{{ var.value.x }}"}]
)
@pytest.mark.parametrize("assigned", [False, True])
def test_arguments_are_checked_again_before_an_arn_or_a_connection_is_made_of_them(tmp_path, change, assigned):
    from airflow_provider_tenable._compat import AirflowFailException
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
    from airflow_provider_tenable.staging.files import write_json
    from airflow_provider_tenable.staging.layout import RunFolder

    context = {"dag_run": SimpleNamespace(dag_id="dag", run_id="run")}
    write_json(RunFolder.of(context, f"file://{tmp_path}").shards, {"count": 0})
    good = {"account": "111122223333", "region": "eu-west-1", "aws_conn_id": "aws_default", "role_name": None}
    given = {**good, **change, "batch_size": 100, "dry_run": False}
    operator = SecurityHubImportFindingsOperator(
        task_id="x", staging_path=f"file://{tmp_path}", **({"assignment": given} if assigned else given)
    )
    with pytest.raises(
        AirflowFailException, match=r"The import's arguments are not valid: .* is not .*\. Nothing was imported\."
    ):
        operator.execute(context)
    # Rendered once more, a text that was assigned would be a template.
    assert not assigned or (operator.role_name, operator.aws_conn_id) == (None, "aws_default")


def test_a_single_destination_is_imported_as_the_manifests_say_now(tmp_path):
    """The transform may have been cleared without what follows it: the group file is from before then."""
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
    from airflow_provider_tenable.security_hub.assignment import Target, write_group
    from airflow_provider_tenable.staging.files import write_json
    from airflow_provider_tenable.staging.layout import RunFolder

    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    place = {"account": "111122223333", "region": "eu-west-1", "aws_conn_id": None, "role_name": "R"}
    write_group(run, 0, [Target(**place, parts=[("part-of-before", 7)])])
    write_json(run.shards, {"count": 1})
    write_json(
        run.shard_manifest(0),
        {
            "destinations": [{**place, "parts": [{"name": "part-of-now", "lines": 3}]}],
            "rejected_part": None,
            "parked_part": None,
        },
    )
    operator = SecurityHubImportFindingsOperator(
        task_id="x", assignment={"group": 0, "title": "t", "batch_size": 1, "dry_run": False}
    )
    assert operator._targets(run, operator._assigned()) == [Target(**place, parts=[("part-of-now", 3)])]


@every_operator
def test_lineage_is_offered_and_empty_before_anything_was_done(operator):
    required = {name: {} for name, each in _parameters(operator).items() if each.default is inspect.Parameter.empty}
    lineage = operator(task_id="x", **required).get_openlineage_facets_on_complete(None)
    assert (lineage.inputs, lineage.outputs) == ([], [])


@pytest.mark.parametrize(
    ("refused", "dry_run", "named"),
    [
        (0, False, "111122223333/eu-west-1: 1,142 sent, 3 rejected"),
        (2, False, "111122223333/eu-west-1: 1,142 sent, refused by 2"),
        (0, True, "111122223333/eu-west-1: dry run, 1,145 findings"),
    ],
)
def test_a_finished_import_is_called_by_what_became_of_its_findings(refused, dry_run, named):
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator, _result_of

    operator = SecurityHubImportFindingsOperator(task_id="x", account="111122223333", region="eu-west-1")
    assert operator.outcome == "111122223333/eu-west-1"
    counts = {"accepted": 1142, "rejected": {"InvalidInput": 2, "Other": 1}}
    operator._result = _result_of(1145, counts, refused=refused, dry_run=dry_run)
    assert operator.outcome == named
