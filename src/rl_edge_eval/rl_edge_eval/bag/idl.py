"""Read message definitions in IDL.

Understood is what rosidl generates (OMG IDL 4.2: modules, structs, typedefs, constants, enums,
annotations), in one text or in parts that begin with ``IDL: package/msg/Name``.
"""

import re

_NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|^\s*\#[^\n]*|^=+$|^IDL:[^\n]*$|("(?:\\.|[^"\\])*")',
    re.DOTALL | re.MULTILINE,
)
_ANNOTATION = re.compile(r'@\w+\s*(\([^()]*\))?')
_DECLARATION = re.compile(
    r'module\s+(?P<module>\w+)\s*\{'
    r'|struct\s+(?P<struct>\w+)\s*\{(?P<members>[^{}]*)\}'
    r'|typedef\s+(?P<typedef>[^;]+);'
    r'|enum\s+(?P<enum>\w+)\s*\{[^{}]*\}|const\s[^;]*;|(?P<end>\})|;|\s+'
)
_MEMBER = re.compile(r'(?P<kind>.+?)\s*\b(?P<name>\w+)\s*(?P<size>\[\s*\d+\s*\])?', re.DOTALL)
_BASE_TYPES = {
    'boolean': 'bool',
    'octet': 'byte',
    'float': 'float32',
    'double': 'float64',
    'short': 'int16',
    'long': 'int32',
    'long long': 'int64',
    'unsigned short': 'uint16',
    'unsigned long': 'uint32',
    'unsigned long long': 'uint64',
    **{name: name for name in ('char', 'string', 'wstring')},
    **{f'{sign}int{bits}': f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)},
}
_PART = '\n' + '=' * 80 + '\nMSG: '


def msg_of_idl(text: str, message_type: str) -> str:
    """Return the definition of ``message_type`` and of all types in ``text`` as .msg files.

    Raise ValueError for what is no IDL, or without that type.
    """
    structs = _structs(text)
    if message_type not in structs:
        raise ValueError(f'it has no {message_type}, but {", ".join(structs) or "nothing"}')
    others = (
        f'{_PART}{_short(name)}\n{structs[name]}' for name in structs if name != message_type
    )
    return structs[message_type] + ''.join(others)


def _structs(text: str) -> dict[str, str]:
    """Return the members of each struct as lines of a .msg file, by the struct's full name."""
    # Strings stand in annotations alone, where they may hold anything.
    text = _ANNOTATION.sub(' ', _NOISE.sub(' ', text))
    structs: dict[str, str] = {}
    aliases: dict[str, str] = {}
    scope: list[str] = []
    at = 0
    while at < len(text):
        found = _DECLARATION.match(text, at)
        if found is None:
            raise ValueError(f'{text[at : at + 30].strip()!r} is not understood in IDL')
        at = found.end()
        if found['module']:
            scope.append(found['module'])
        elif found['end'] and scope:
            scope.pop()
        elif found['struct']:
            members = filter(str.strip, found['members'].split(';'))
            lines = [f'{kind} {name}\n' for name, kind in (_member(m, aliases) for m in members)]
            structs['/'.join([*scope, found['struct']])] = ''.join(lines)
        elif found['typedef']:
            name, kind = _member(found['typedef'], aliases)
            aliases[name] = kind
        elif found['enum']:
            aliases[found['enum']] = 'uint32'
    return structs


def _member(text: str, aliases: dict[str, str]) -> tuple[str, str]:
    """Return name and .msg type of ``type name`` or ``type name[size]``."""
    found = _MEMBER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'{text.strip()!r} is not a member of a struct')
    size = re.sub(r'\s', '', found['size'] or '')
    return found['name'], _type(found['kind'].strip(), aliases) + size


def _type(kind: str, aliases: dict[str, str]) -> str:
    if bounded := re.fullmatch(r'(sequence|w?string)\s*<(.*)>', kind, re.DOTALL):
        outer, inner = bounded.groups()
        if outer != 'sequence':
            return f'{outer}<={inner.strip()}'
        element, comma, bound = inner.rpartition(',')
        if not comma or not bound.strip().isdigit():  # the comma, if any, is one of the element
            element, bound = inner, ''
        return f'{_type(element.strip(), aliases)}[{f"<={bound.strip()}" if bound else ""}]'
    words = ' '.join(kind.split())
    return (
        _BASE_TYPES.get(words)
        or aliases.get(words.rpartition('::')[2])
        or _short(words.replace('::', '/'))
    )


def _short(name: str) -> str:
    """Return package/Name of package/msg/Name."""
    package, *_, last = name.split('/')
    return f'{package}/{last}' if last != package else last
