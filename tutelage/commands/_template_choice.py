"""Which template a person means, and whether it can be accepted."""

from __future__ import annotations

from core.errors import DataError, SettingsError
from core.ledger import AcceptedTemplate, Ledger, UnknownTemplate
from core.settings import Settings
from core.templates import Template, build_template, compile_template
from tutelage.commands._template_screen import why_none


def find_unknown(ledger: Ledger, identifier: str, task: str | None) -> UnknownTemplate:
    """The unknown template with this id. Raises DataError where there is none, or several tasks have it."""
    found = [one for one in ledger.unknown_templates.all(task) if one.id == identifier]
    if not found:
        raise DataError(f"there is no unknown template {identifier!r}; `tutelage templates --all` lists them")
    if len(found) > 1:
        raise DataError(f"{identifier} is seen in {', '.join(one.task for one in found)}; name one with --task")
    return found[0]


def find_accepted(settings: Settings, ledger: Ledger, version: str, task: str | None) -> AcceptedTemplate:
    """The accepted template of this version. Raises DataError where there is none, or several tasks have it."""
    found = [one for one in ledger.templates.all(task) if one.template.version == version]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{version} is accepted in {', '.join(one.task for one in found)}; name one with --task")
    for name, known in settings.tasks.items():
        if any(template.version == version for template in known.compiled_templates()):
            raise DataError(f"{version} stands in the settings of {name}; take it out of tasks.{name}.templates there")
    raise DataError(f"no template {version!r} was accepted; `tutelage templates` lists them")


def written(name: str, messages: list[str]) -> Template:
    """A template of `ROLE=CONTENT` messages. Raises DataError where it would be none."""
    pairs = [message.partition("=") for message in messages]
    if not all(role and equals for role, equals, _ in pairs):
        raise DataError('--message takes ROLE=CONTENT, for example --message "user=Ticket: {text}"')
    try:
        return compile_template(_fit_name(name), [(role, content) for role, _, content in pairs])
    except ValueError as error:
        raise DataError(str(error)) from error


def suggested(name: str, unknown: UnknownTemplate) -> Template:
    """What is suggested, under a name. Raises DataError where nothing is, or not all of it."""
    if unknown.template is None or unknown.withheld:
        raise DataError(f"{why_none(unknown)}; write it yourself with --message ROLE=CONTENT for each message")
    return build_template(_fit_name(name), unknown.template.patterns)


def _fit_name(name: str) -> str:
    if not (name.isprintable() and 0 < len(name) <= 64) or "@" in name:
        raise DataError(f"{name!r} is no name for a template; take up to 64 characters, and no @")
    return name


def checked(settings: Settings, ledger: Ledger, template: Template, unknown: UnknownTemplate) -> str:
    """What to say of a template before it is accepted. Raises DataError where it may not be."""
    task = settings.tasks.get(unknown.task)
    if task is None:
        raise SettingsError(f"the task {unknown.task!r} is not in the settings any more; nothing would read it")
    for known in ledger.templates.in_force(unknown.task, task.compiled_templates()):
        if known.digest == template.digest:
            raise DataError(f"this is what {known.version} reads already; gateways take it in within seconds")
    if not unknown.example:
        return "There is no stored example that it could be checked against."
    if template.match(unknown.example) is not None:
        return ""
    if task.privacy.redact:
        return "It does not fit the stored example, which may be redacted."
    raise DataError(
        f"the template does not fit the example of {unknown.id}, so that its requests would still go to the teacher; "
        "compare the two, down to blanks and line breaks"
    )


def covered(ledger: Ledger, template: Template, unknown: UnknownTemplate) -> list[str]:
    """Other unknown templates of the task that are known with this one."""
    return [
        one.id
        for one in ledger.unknown_templates.all(unknown.task)
        if one.id != unknown.id and one.example and template.match(one.example) is not None
    ]
