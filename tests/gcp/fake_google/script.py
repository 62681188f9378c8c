"""Reads GoogleSQL scripts: statements, blocks, conditions, loops and variables.

`sqlglot` reads single statements; what joins them into a script is read here, since it does not keep its structure.
"""

import logging
import re
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.dialects.bigquery import BigQuery
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokens import TokenType

# It warns of what it does not know; here that is an error in the job.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

# Statements of which nothing could be made here.
ABSENT = {"CASE", "CALL", "EXPORT", "LOAD", "GRANT", "REVOKE", "UNDROP"}
STARTS = ABSENT | {
    "SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "DROP", "ALTER", "TRUNCATE", "BEGIN",
    "BEGIN TRANSACTION", "COMMIT", "ROLLBACK", "DECLARE", "SET", "IF", "WHILE", "LOOP", "REPEAT", "FOR", "LEAVE",
    "BREAK", "CONTINUE", "ITERATE", "RETURN", "RAISE", "EXECUTE", "ASSERT",
}


class Tokenizer(BigQuery.Tokenizer):
    """BigQuery's tokens, without the shortcut of taking all after an unknown word as one text."""

    COMMANDS = set()


class SqlError(Exception):
    """A mistake in a script: BigQuery's reason and message."""

    def __init__(self, message, reason="invalidQuery"):
        super().__init__(message)
        self.message = message
        self.reason = reason


@dataclass
class Leaf:
    """One SQL statement."""
    tree: exp.Expression
    line: int
    col: int
    text: str = ""


@dataclass
class Scripting:
    """A statement of the scripting language, with its parts by name."""
    kind: str
    line: int
    col: int
    parts: dict = field(default_factory=dict)


def read(text):
    """The statements of a script; raises `SqlError` with the place of a mistake."""
    try:
        tokens = Tokenizer().tokenize(text)
    except TokenError as error:
        raise SqlError(f"Syntax error: {str(error).splitlines()[0]} at {end_of(text)}") from error
    reader = Reader(text, tokens)
    nodes = reader.block(())
    if not nodes:
        raise SqlError("Syntax error: Unexpected end of script at [1:1]")
    return nodes


def is_script(nodes):
    """Whether BigQuery would run these as a script, with a job for each statement."""
    return len(nodes) > 1 or isinstance(nodes[0], Scripting)


class Reader:
    """A cursor over a script's tokens."""

    def __init__(self, text, tokens):
        self.text = text
        self.tokens = tokens
        self.at = 0

    def word(self, ahead=0):
        """The word at the cursor, in upper case; empty at the end, and for quoted text."""
        index = self.at + ahead
        if index >= len(self.tokens) or self.tokens[index].token_type in (TokenType.STRING, TokenType.IDENTIFIER):
            return ""
        return self.tokens[index].text.upper()

    def accept(self, *words):
        """Steps over words, if they come next."""
        if all(self.word(ahead) == word for ahead, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def expect(self, *words):
        """Steps over words that must come next."""
        for word in words:
            if not self.accept(word):
                raise SqlError(f"Syntax error: Expected keyword {word} but got {self.found()} at {self.place()}")

    def found(self):
        """What is at the cursor, as BigQuery words it."""
        return describe(self.tokens[self.at]) if self.at < len(self.tokens) else "end of script"

    def place(self):
        """Line and column of the cursor."""
        return place_of(self.tokens[self.at]) if self.at < len(self.tokens) else end_of(self.text)

    def block(self, ends):
        """Statements up to one of the words that end a block."""
        nodes = []
        while self.at < len(self.tokens):
            if self.accept(";"):
                continue
            if self.word() in ends:
                return nodes
            nodes.append(self.statement())
            if self.at < len(self.tokens) and not self.accept(";"):
                raise SqlError(f"Syntax error: Unexpected {self.found()} at {self.place()}")
        if ends:
            raise SqlError(f"Syntax error: Unexpected end of script at {end_of(self.text)}")
        return nodes

    def statement(self):
        """One statement."""
        token = self.tokens[self.at]
        word = self.word()
        node = Scripting(word, token.line, column(token))
        if word in ABSENT or (word == "CREATE" and "PROCEDURE" in (self.word(1), self.word(3))):
            raise SqlError(f"the fake does not carry out {word} here, at {place_of(token)}")
        if word == "BEGIN" and self.word(1) not in ("", ";", "TRANSACTION"):
            return self.begin(node)
        reader = {"IF": self.branch, "WHILE": self.loop, "LOOP": self.loop, "REPEAT": self.loop,
                  "DECLARE": self.declare, "SET": self.assign, "EXECUTE": self.execute, "ASSERT": self.check,
                  "RAISE": self.fail, "FOR": self.each}.get(word)
        if reader:
            return reader(node)
        if word in ("LEAVE", "BREAK", "CONTINUE", "ITERATE", "RETURN"):
            self.at += 1
            return node
        return self.leaf()

    def begin(self, node):
        """A block, perhaps with what to do when it fails."""
        self.expect("BEGIN")
        node.parts["body"] = self.block(("END", "EXCEPTION"))
        if self.accept("EXCEPTION"):
            self.expect("WHEN", "ERROR", "THEN")
            node.parts["handler"] = self.block(("END",))
        self.expect("END")
        return node

    def branch(self, node):
        """IF … THEN … ELSEIF … ELSE … END IF."""
        self.expect("IF")
        node.parts["branches"] = []
        while True:
            condition = self.expression(("THEN",))
            self.expect("THEN")
            node.parts["branches"].append((condition, self.block(("ELSEIF", "ELSE", "END"))))
            if not self.accept("ELSEIF"):
                break
        node.parts["otherwise"] = self.block(("END",)) if self.accept("ELSE") else []
        self.expect("END", "IF")
        return node

    def loop(self, node):
        """WHILE … DO …, LOOP … and REPEAT … UNTIL …."""
        self.at += 1
        if node.kind == "WHILE":
            node.parts["condition"] = self.expression(("DO",))
            self.expect("DO")
        node.parts["body"] = self.block(("UNTIL",) if node.kind == "REPEAT" else ("END",))
        if node.kind == "REPEAT":
            self.expect("UNTIL")
            node.parts["until"] = self.expression(("END",))
        self.expect("END", node.kind)
        return node

    def each(self, node):
        """FOR name IN (query) DO …."""
        self.expect("FOR")
        node.parts["name"] = self.name()
        self.expect("IN")
        start = self.at
        self.slice(("DO",))
        if start == self.at:
            raise SqlError(f"Syntax error: Unexpected {self.found()} at {self.place()}")
        tokens = self.tokens[start:self.at]
        node.parts["query"] = Leaf(parse_tokens(self.text, tokens), tokens[0].line, column(tokens[0]))
        self.expect("DO")
        node.parts["body"] = self.block(("END",))
        self.expect("END", "FOR")
        return node

    def declare(self, node):
        """DECLARE a, b TYPE DEFAULT expression."""
        self.expect("DECLARE")
        names = [self.name()]
        while self.accept(","):
            names.append(self.name())
        node.parts["names"] = names
        kind = self.slice(("DEFAULT",))
        node.parts["type"] = kind
        node.parts["value"] = self.expression(()) if self.accept("DEFAULT") else None
        if not kind and node.parts["value"] is None:
            raise SqlError(f"Syntax error: Unexpected {self.found()} at {self.place()}")
        return node

    def assign(self, node):
        """SET name = expression."""
        self.expect("SET")
        node.parts["name"] = self.name()
        self.expect("=")
        node.parts["value"] = self.expression(())
        return node

    def execute(self, node):
        """EXECUTE IMMEDIATE expression INTO name."""
        self.expect("EXECUTE", "IMMEDIATE")
        node.parts["value"] = self.expression(("INTO", "USING"))
        node.parts["into"] = self.name() if self.accept("INTO") else None
        return node

    def check(self, node):
        """ASSERT expression AS message."""
        self.expect("ASSERT")
        node.parts["value"] = self.expression(("AS",))
        node.parts["message"] = self.tokens[self.at].text if self.accept("AS") and self.at < len(self.tokens) else None
        self.at += node.parts["message"] is not None
        return node

    def fail(self, node):
        """RAISE, perhaps USING MESSAGE = expression."""
        self.expect("RAISE")
        if self.accept("USING"):
            self.expect("MESSAGE", "=")
            node.parts["value"] = self.expression(())
        return node

    def name(self):
        """A variable's name."""
        if self.at >= len(self.tokens) or not re.fullmatch(r"\w+", self.tokens[self.at].text):
            raise SqlError(f"Syntax error: Unexpected {self.found()} at {self.place()}")
        self.at += 1
        return self.tokens[self.at - 1].text.lower()

    def slice(self, ends):
        """The text up to one of some words, or to the statement's end."""
        start = self.at
        depth = 0
        while self.at < len(self.tokens) and self.word() != ";":
            word = self.word()
            if depth == 0 and word in ends:
                break
            depth += (word in ("(", "CASE")) - (word in (")", "END") and depth > 0)
            self.at += 1
        if start == self.at:
            return ""
        return self.text[self.tokens[start].start:self.tokens[self.at - 1].end + 1]

    def expression(self, ends):
        """An expression up to one of some words, as a query for its value."""
        place, start = self.place(), self.at
        if not self.slice(ends):
            raise SqlError(f"Syntax error: Unexpected {self.found()} at {place}")
        query = parse_tokens(self.text, self.tokens[start:self.at], before="SELECT ")
        return Leaf(query, self.tokens[start].line, column(self.tokens[start]))

    def leaf(self):
        """A statement that `sqlglot` reads."""
        start = self.at
        if self.word() not in STARTS and self.word() != "(":
            raise SqlError(f"Syntax error: Unexpected {self.found()} at {self.place()}")
        self.slice(())
        tokens = self.tokens[start:self.at]
        text = self.text[tokens[0].start:tokens[-1].end + 1]
        return Leaf(parse_tokens(self.text, tokens), tokens[0].line, column(tokens[0]), text)


def parse_tokens(text, tokens, before=""):
    """The tree of some tokens, whose places are those of the whole text."""
    first = tokens[0].start
    blank = re.sub(r"[^\n]", " ", text[:first])
    # What is put before an expression takes the place of blanks, or shifts the first line.
    source = (blank[:-len(before)] if before and blank.endswith(" " * len(before)) else blank) + before
    shift = len(source) - first
    try:
        trees = sqlglot.parse(source + text[first:tokens[-1].end + 1], read="bigquery")
    except ParseError as error:
        raise syntax_error(text, error.errors[0], tokens, shift) from error
    except TokenError as error:
        raise SqlError(f"Syntax error: {str(error).splitlines()[0]} at {place_of(tokens[0])}") from error
    tree = trees[0]
    if isinstance(tree, exp.Command) or tree is None:
        raise SqlError(f"the fake does not carry out {tokens[0].text.upper()} statements, at {place_of(tokens[0])}")
    return tree


def syntax_error(text, error, tokens, shift):
    """A parser's error in BigQuery's words."""
    col = error["col"] - len(error["highlight"]) + 1 - (shift if error["line"] == tokens[0].line else 0)
    for token in tokens:
        if (token.line, column(token)) == (error["line"], col):
            if token is tokens[-1] and "Expected" in error["description"] and "SENTINEL" in error["description"]:
                break
            return SqlError(f"Syntax error: Unexpected {describe(token)} at {place_of(token)}")
    last = tokens[-1]
    end = "end of script" if last.end + 1 >= len(text.rstrip()) else "end of statement"
    return SqlError(f"Syntax error: Unexpected {end} at [{last.line}:{last.col + 1}]")


def describe(token):
    """A token as BigQuery names it in a message."""
    kind = token.token_type
    if kind == TokenType.STRING:
        return f'string literal "{token.text}"'
    if kind == TokenType.NUMBER:
        return f"{'floating point' if '.' in token.text else 'integer'} literal \"{token.text}\""
    if kind in (TokenType.VAR, TokenType.IDENTIFIER):
        return f'identifier "{token.text}"'
    return f"keyword {token.text.upper()}" if token.text.isalpha() else f'"{token.text}"'


def column(token):
    """The column at which a token begins; `sqlglot` keeps that of its end."""
    return token.col - (token.end - token.start)


def place_of(token):
    """Line and column as BigQuery writes them."""
    return f"[{token.line}:{column(token)}]"


def end_of(text):
    """The place after a script's last character."""
    lines = text.rstrip().split("\n")
    return f"[{len(lines)}:{len(lines[-1]) + 1}]"
