"""Runs a job's script, statement by statement, on DuckDB. Nothing here waits for anything but DuckDB."""

import duckdb

from . import script
from .script import Leaf, SqlError
from .sql import Scope, translate
from .state import now_ms
from .values import quote, row_of, schema_of
from .warehouse import Table, as_sql_error, billed, name_of

LOOPS = 100_000


class Leave(Exception):
    """LEAVE, CONTINUE or RETURN on its way to the block it means."""


class Done:
    """A statement that has been run, or has failed."""

    def __init__(self, kind, leaf=None):
        self.kind = kind
        self.leaf = leaf
        self.started = now_ms()
        self.ended = None
        self.error = None
        self.fields = []
        self.rows = []
        self.processed = 0
        self.affected = None
        self.operation = None
        self.target = None
        self.reads = []


class Session:
    """One job's connection, variables and temporary tables."""

    def __init__(self, warehouse, scope, location, limit=None, destination=None):
        self.warehouse = warehouse
        self.scope = scope
        scope.system["project_id"] = scope.project
        self.location = location
        self.limit = limit
        self.destination = destination
        self.cursor = warehouse.cursor()
        self.done = []
        self.message = ""

    def close(self):
        """Gives the connection back; a transaction that is open is undone."""
        self.cursor.close()

    def run(self, nodes):
        """Runs statements; raises `SqlError`."""
        try:
            self.block(nodes)
        except Leave:
            pass

    def block(self, nodes):
        """Runs the statements of a block."""
        for node in nodes:
            if isinstance(node, Leaf):
                self.done.append(self.statement(node))
            else:
                getattr(self, f"run_{node.kind.lower()}")(node)

    # The statements of the scripting language.

    def run_begin(self, node):
        """A block, and its handler when it fails."""
        try:
            self.block(node.parts["body"])
        except SqlError as error:
            if "handler" not in node.parts:
                raise
            self.message = self.scope.system["error.message"] = error.message
            self.block(node.parts["handler"])

    def run_if(self, node):
        """The first branch whose condition holds."""
        for condition, body in node.parts["branches"]:
            if self.value(condition):
                return self.block(body)
        return self.block(node.parts["otherwise"])

    def run_while(self, node):
        """A loop, whichever of the three."""
        for _ in range(LOOPS):
            if "condition" in node.parts and not self.value(node.parts["condition"]):
                return
            try:
                self.block(node.parts["body"])
            except Leave as leave:
                if str(leave) in ("LEAVE", "BREAK"):
                    return
                if str(leave) == "RETURN":
                    raise
            if "until" in node.parts and self.value(node.parts["until"]):
                return
        raise SqlError("the loop has no end that the fake would wait for", "resourcesExceeded")

    run_loop = run_repeat = run_while

    def run_for(self, node):
        """A loop over a query's rows."""
        name = node.parts["name"]
        query = self.value_sql(node.parts["query"])
        self.execute(f"SELECT list(one) FROM {query} AS one", node)
        rows = self.cursor.fetchone()[0] or []
        self.scope.variables.add(name)
        for row in rows:
            self.cursor.execute(f"SET VARIABLE {quote(name)} = ?", [row])
            try:
                self.block(node.parts["body"])
            except Leave as leave:
                if str(leave) in ("LEAVE", "BREAK"):
                    break
                if str(leave) == "RETURN":
                    raise
        self.scope.variables.discard(name)

    def run_leave(self, node):
        """Leaves a loop, or goes on with its next round, or ends the script."""
        raise Leave(node.kind)

    run_break = run_continue = run_iterate = run_return = run_leave

    def run_declare(self, node):
        """Makes variables."""
        for name in node.parts["names"]:
            value = self.value_sql(node.parts["value"]) if node.parts["value"] else "NULL"
            if node.parts["type"]:
                cast = script.read(f"SELECT CAST(NULL AS {node.parts['type']})")[0]
                kind = translate(cast, self.scope).sql.removeprefix("SELECT CAST(NULL AS ").removesuffix(")")
                value = f"CAST({value} AS {kind})"
            self.execute(f"SET VARIABLE {quote(name)} = {value}", node)
            self.scope.variables.add(name)

    def run_set(self, node):
        """Changes a variable."""
        name = node.parts["name"]
        if name not in self.scope.variables:
            raise SqlError(f"Undeclared variable: {name} at [{node.line}:{node.col}]")
        self.execute(f"SET VARIABLE {quote(name)} = {self.value_sql(node.parts['value'])}", node)

    def run_execute(self, node):
        """EXECUTE IMMEDIATE."""
        nodes = script.read(str(self.value(node.parts["value"])))
        self.block(nodes)
        into = node.parts["into"]
        if into:
            if into not in self.scope.variables:
                raise SqlError(f"Undeclared variable: {into} at [{node.line}:{node.col}]")
            rows = self.done[-1].rows
            self.cursor.execute(f"SET VARIABLE {quote(into)} = ?", [rows[0][0] if rows else None])

    def run_assert(self, node):
        """ASSERT."""
        if not self.value(node.parts["value"]):
            raise SqlError(node.parts["message"] or f"Assertion failed at [{node.line}:{node.col}]")

    def run_raise(self, node):
        """RAISE."""
        message = self.value(node.parts["value"]) if "value" in node.parts else self.message
        raise SqlError(f"{message} at [{node.line}:{node.col}]")

    def value(self, leaf):
        """An expression's value."""
        self.execute(translate(leaf, self.scope).sql, leaf)
        return self.cursor.fetchone()[0]

    def value_sql(self, leaf):
        """An expression as DuckDB's SQL, after a look at the tables it reads."""
        statement = translate(leaf, self.scope)
        self.check(statement)
        return f"({statement.sql})"

    # SQL statements.

    def statement(self, leaf):
        """Runs one statement; raises `SqlError`."""
        done = Done("SELECT", leaf)
        try:
            statement = translate(leaf, self.scope)
            done.kind, done.reads = statement.kind, statement.reads
            self.check(statement)
            done.processed = self.estimate(statement)
            self.check_limit(done.processed)
            if statement.query:
                self.query(statement, leaf, done)
            else:
                with self.warehouse.writing:
                    self.change(statement, leaf, done)
        except SqlError as error:
            done.error = error
            done.ended = now_ms()
            self.done.append(done)
            raise
        done.ended = now_ms()
        return done

    def query(self, statement, leaf, done):
        """Runs a SELECT, into a table where the job names one."""
        if self.destination:
            return self.store(statement, leaf, done)
        self.execute(statement.sql, leaf)
        done.fields = schema_of(self.cursor.description)
        done.rows = self.cursor.fetchall()
        return None

    def store(self, statement, leaf, done):
        """Runs a SELECT into the job's destination table."""
        whole, disposition = self.destination
        dataset = self.dataset(whole)
        exists = whole[2] in dataset.tables
        with self.warehouse.writing:
            if exists and disposition == "WRITE_EMPTY" and self.warehouse.rows(whole):
                raise SqlError(f"Already Exists: Table {named(whole)}", "duplicate")
            if exists and disposition == "WRITE_APPEND":
                self.execute(f"INSERT INTO {name_of(whole)} {statement.sql}", leaf)
            else:
                self.execute(f"CREATE OR REPLACE TABLE {name_of(whole)} AS {statement.sql}", leaf)
                dataset.tables[whole[2]] = Table()
        done.fields = self.warehouse.schema(whole)
        self.execute(f"SELECT * FROM {name_of(whole)}", leaf)
        done.rows = self.cursor.fetchall()

    def change(self, statement, leaf, done):
        """Runs what changes tables, and keeps account of which there are."""
        if statement.kind.endswith("_SCHEMA"):
            return self.change_dataset(statement, done)
        self.execute(statement.sql, leaf)
        if statement.dml:
            done.affected = self.scope.system["row_count"] = (self.cursor.fetchone() or (0,))[0]
        done.target = statement.target
        if statement.temporary:
            if statement.kind.startswith("CREATE_") and statement.target:
                self.scope.temporary.add(statement.target[2].lower())
            return None
        if statement.target is None or statement.target[0] is None:
            return None
        return self.account(statement, done)

    def account(self, statement, done):
        """Notes a table that was made, renamed or removed."""
        tables = self.dataset(statement.target).tables
        name = statement.target[2]
        if statement.kind.startswith("CREATE_"):
            old = tables.get(name)
            replace = statement.tree.args.get("replace")
            done.operation = "CREATE" if old is None else "REPLACE" if replace else "SKIP"
            if done.operation != "SKIP":
                tables[name] = Table("VIEW" if statement.kind == "CREATE_VIEW" else "TABLE", **statement.partition)
        elif statement.kind.startswith("DROP_"):
            done.operation = "DROP" if tables.pop(name, None) else "SKIP"
        elif statement.kind == "ALTER_TABLE":
            done.operation = "ALTER"
            for action in statement.tree.args["actions"]:
                if type(action).__name__ == "AlterRename":
                    tables[action.this.name] = tables.pop(name)

    def change_dataset(self, statement, done):
        """CREATE SCHEMA and DROP SCHEMA."""
        project, name, _ = done.target = statement.target
        old = self.warehouse.dataset(project, name)
        if statement.kind == "CREATE_SCHEMA":
            if old is None:
                self.warehouse.make_dataset(project, name, statement.location or self.location)
            elif not statement.tree.args.get("exists"):
                raise SqlError(f"Already Exists: Dataset {project}:{name}", "duplicate")
            done.operation = "SKIP" if old else "CREATE"
            return
        if old is None and not statement.tree.args.get("exists"):
            raise SqlError(f"Not found: Dataset {project}:{name} was not found in location {self.location}", "notFound")
        if old and old.tables and not statement.tree.args.get("cascade"):
            raise SqlError(f"Dataset {project}:{name} is still in use", "resourceInUse")
        if old:
            self.warehouse.drop_dataset(project, name)
        done.operation = "DROP" if old else "SKIP"

    def execute(self, sql, leaf):
        """Runs SQL of DuckDB's; raises `SqlError`."""
        try:
            self.cursor.execute(sql)
        except duckdb.Error as error:
            raise as_sql_error(error, leaf) from error

    # What BigQuery finds out before it runs anything.

    def check(self, statement):
        """Whether the tables are there that must be; raises `SqlError`."""
        for whole in statement.reads:
            self.must_exist(whole)
        whole, tree = statement.target, statement.tree
        if whole is None or whole[0] is None or whole[2] is None or statement.temporary:
            return
        dataset = self.dataset(whole)
        exists = whole[2] in dataset.tables
        if statement.kind.startswith("CREATE_") and statement.kind != "CREATE_FUNCTION":
            if exists and not tree.args.get("replace") and not tree.args.get("exists"):
                raise SqlError(f"Already Exists: Table {named(whole)}", "duplicate")
        elif not exists and not tree.args.get("exists") and statement.kind != "CREATE_FUNCTION":
            self.must_exist(whole)

    def must_exist(self, whole):
        """Raises `SqlError` for a table that does not exist."""
        if whole[2] not in self.dataset(whole).tables:
            raise SqlError(f"Not found: Table {named(whole)} was not found in location {self.location}", "notFound")

    def dataset(self, whole):
        """The dataset of a table, in the job's location; raises `SqlError`."""
        dataset = self.warehouse.dataset(whole[0], whole[1])
        if dataset is None or dataset.location.lower() != self.location.lower():
            raise SqlError(f"Not found: Dataset {whole[0]}:{whole[1]} was not found in location {self.location}",
                           "notFound")
        return dataset

    def estimate(self, statement):
        """The bytes that a statement reads."""
        read = list(statement.reads)
        if statement.kind in ("UPDATE", "DELETE", "MERGE") and statement.target and statement.target[0]:
            read.append(statement.target)
        columns = None if statement.everything else statement.columns
        return sum(self.warehouse.bytes_of(whole, columns) for whole in dict.fromkeys(read))

    def check_limit(self, processed):
        """Raises `SqlError` when a statement would read more than the job may."""
        if self.limit is not None and billed(processed) > self.limit:
            raise SqlError(f"Query exceeded limit for bytes billed: {self.limit}. "
                           f"{billed(processed)} or higher required.", "bytesBilledLimitExceeded")

    def plan(self, nodes):
        """What a dry run tells: the kind, the bytes and the columns of a script's only statement."""
        if script.is_script(nodes):
            return Done("SCRIPT")
        leaf = nodes[0]
        statement = translate(leaf, self.scope)
        done = Done(statement.kind)
        done.reads, done.target = statement.reads, statement.target
        self.check(statement)
        done.processed = self.estimate(statement)
        self.check_limit(done.processed)
        if statement.query:
            self.execute(f"SELECT * FROM ({statement.sql}) LIMIT 0", leaf)
            done.fields = schema_of(self.cursor.description)
        elif statement.dml:
            self.execute(f"EXPLAIN {statement.sql}", leaf)
        elif statement.tree.expression is not None and statement.kind == "CREATE_TABLE_AS_SELECT":
            self.execute(f"EXPLAIN {statement.tree.expression.sql('duckdb')}", leaf)
        return done


def named(whole):
    """A table's name in messages."""
    return f"{whole[0]}:{whole[1]}.{whole[2]}"


def rows_json(done, micros, start=0, count=None):
    """A statement's rows in the API's format."""
    end = None if count is None else start + count
    return [row_of(row, done.fields, micros) for row in done.rows[start:end]]


__all__ = ["Done", "Scope", "Session", "SqlError", "named", "rows_json"]
