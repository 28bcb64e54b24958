"""Rewrite message definitions from IDL, as ``ros2 bag record`` stores some, in the form of .msg.

Understood is what rosidl generates (OMG IDL 4.2: modules, structs, typedefs, constants, enums,
annotations), in one text or in parts that begin with ``IDL: package/msg/Name``.
"""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"'  # a string
    r'|//[^\n]*|/\*.*?\*/|^\s*\#[^\n]*|^=+$|^IDL:[^\n]*$'  # comment, directive, head of a part
    r'|[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*|[\d.]+|\S',
    re.DOTALL | re.MULTILINE,
)
_LEFT_OUT = ('//', '/*', '#', '==', 'IDL:')
_BASE_TYPES = {
    'boolean': 'bool',
    'octet': 'byte',
    'char': 'char',
    'float': 'float32',
    'double': 'float64',
    'short': 'int16',
    'long': 'int32',
    'long long': 'int64',
    'unsigned short': 'uint16',
    'unsigned long': 'uint32',
    'unsigned long long': 'uint64',
    **{name: name for name in ('string', 'wstring')},
    **{f'{sign}int{bits}': f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)},
}
_PART = '\n' + '=' * 80 + '\nMSG: '


def msg_of_idl(text: str, message_type: str) -> str:
    """Return the definition of ``message_type`` and of all types in ``text`` as .msg files.

    Raise ValueError for what is no IDL, or without that type.
    """
    structs = _Parser(text).structs
    if message_type not in structs:
        raise ValueError(f'it has no {message_type}, but {", ".join(structs) or "nothing"}')
    others = (
        f'{_PART}{_short(name)}\n{structs[name]}' for name in structs if name != message_type
    )
    return structs[message_type] + ''.join(others)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._aliases: dict[str, str] = {}
        self.structs: dict[str, str] = {}
        try:
            self._parse()
        except StopIteration:
            raise ValueError('the IDL ends too early') from None

    def _parse(self) -> None:
        scope: list[str] = []
        for token in self._tokens:
            if token == '@':
                self._skip_annotation()
            elif token == 'module':
                scope.append(next(self._tokens))
                self._expect('{')
            elif token == 'struct':
                name = next(self._tokens)
                self._expect('{')
                self.structs['/'.join([*scope, name])] = self._members()
            elif token == 'typedef':
                name, kind = self._declaration(next(self._tokens))
                self._aliases[name] = kind
            elif token == 'enum':
                self._aliases[next(self._tokens)] = 'uint32'
                while next(self._tokens) != '}':
                    pass
            elif token == 'const':
                while next(self._tokens) != ';':
                    pass
            elif token == '}' and scope:
                scope.pop()
            elif token != ';':
                raise ValueError(f'{token!r} is not understood in IDL')

    def _members(self) -> str:
        lines = []
        while (token := next(self._tokens)) != '}':
            if token == '@':
                self._skip_annotation()
            else:
                name, kind = self._declaration(token)
                lines.append(f'{kind} {name}\n')
        return ''.join(lines)

    def _declaration(self, token: str) -> tuple[str, str]:
        """Return name and .msg type of ``type name;`` or ``type name[size];``."""
        kind, name = self._type(token)
        if name is None:
            name = next(self._tokens)
        size = ''
        if (token := next(self._tokens)) == '[':
            size = f'[{next(self._tokens)}]'
            self._expect(']')
            token = next(self._tokens)
        if token != ';':
            raise ValueError(f'{token!r} stands where ; must be, behind {name}')
        return name, kind + size

    def _type(self, token: str) -> tuple[str, str | None]:
        """Return a .msg type, and the token behind it where that had to be read."""
        if token == 'sequence':
            self._expect('<')
            element, after = self._type(next(self._tokens))
            after = after or next(self._tokens)
            bound = ''
            if after == ',':
                bound, after = f'<={next(self._tokens)}', next(self._tokens)
            return f'{element}[{bound}]', None if after == '>' else after
        if token in ('unsigned', 'long'):
            words = [token]
            while (after := next(self._tokens)) in ('short', 'long'):
                words.append(after)
            return _BASE_TYPES[' '.join(words)], after
        if token in ('string', 'wstring'):
            after = next(self._tokens)
            if after != '<':
                return token, after
            bound = next(self._tokens)
            self._expect('>')
            return f'{token}<={bound}', None
        if token in _BASE_TYPES:
            return _BASE_TYPES[token], None
        alias = self._aliases.get(token.rpartition('::')[2])
        return alias or _short(token.replace('::', '/')), None

    def _skip_annotation(self) -> None:
        next(self._tokens)  # its name
        token = next(self._tokens)
        if token != '(':
            self._tokens = _before(token, self._tokens)
            return
        depth = 1
        while depth:
            token = next(self._tokens)
            depth += (token == '(') - (token == ')')

    def _expect(self, wanted: str) -> None:
        if (token := next(self._tokens)) != wanted:
            raise ValueError(f'{token!r} stands where {wanted} must be')


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        token = match.group().strip()
        if not token.startswith(_LEFT_OUT):
            yield token


def _before(token: str, tokens: Iterator[str]) -> Iterator[str]:
    yield token
    yield from tokens


def _short(name: str) -> str:
    """Return package/Name of package/msg/Name."""
    package, *_, last = name.split('/')
    return f'{package}/{last}' if last != package else last
