"""Turns one GoogleSQL statement into DuckDB's SQL, with every table's name made whole."""

from dataclasses import dataclass, field

from sqlglot import ErrorLevel, exp

from . import mend
from .script import SqlError

DML = {exp.Insert: "INSERT", exp.Update: "UPDATE", exp.Delete: "DELETE", exp.Merge: "MERGE"}


@dataclass
class Scope:
    """What names mean where a statement stands."""
    project: str
    dataset: tuple = None
    parameters: dict = field(default_factory=dict)
    positional: list = field(default_factory=list)
    variables: set = field(default_factory=set)
    # The values of @@names.
    system: dict = field(default_factory=dict)
    temporary: set = field(default_factory=set)


@dataclass
class Statement:
    """A statement for DuckDB, and what is known of it."""
    sql: str
    kind: str
    tree: exp.Expression
    reads: list = field(default_factory=list)
    target: tuple = None
    temporary: bool = False
    columns: set = field(default_factory=set)
    everything: bool = False
    partition: dict = field(default_factory=dict)
    location: str = None

    @property
    def query(self):
        """Whether rows come of it."""
        return self.kind == "SELECT"

    @property
    def dml(self):
        """Whether it changes rows."""
        return self.kind in DML.values()


def translate(leaf, scope):
    """A statement for DuckDB; raises `SqlError`."""
    tree = leaf.tree.copy()
    statement = Statement("", kind_of(tree), tree)
    mend.check(statement.kind, tree, leaf)
    tree = mend.before(tree)
    replace_system(tree, scope)
    for name in list(tree.find_all(exp.Parameter, exp.Placeholder)):
        replace_parameter(name, scope)
    replace_variables(tree, scope)
    statement.columns = {column.name.lower() for column in tree.find_all(exp.Column)}
    statement.everything = tree.find(exp.Star) is not None
    take_properties(tree, statement)
    name_tables(tree, scope, statement)
    statement.tree = mend.after(tree)
    statement.sql = statement.tree.sql("duckdb", unsupported_level=ErrorLevel.IGNORE)
    return statement


def kind_of(tree):
    """BigQuery's name for a statement's kind."""
    if isinstance(tree, exp.Query):
        return "SELECT"
    for kind, name in DML.items():
        if isinstance(tree, kind):
            return name
    if isinstance(tree, exp.Create):
        what = tree.kind.upper()
        return "CREATE_TABLE_AS_SELECT" if what == "TABLE" and tree.expression else f"CREATE_{what}"
    if isinstance(tree, exp.Drop):
        return f"DROP_{tree.args['kind'].upper()}"
    others = {exp.Alter: "ALTER_TABLE", exp.TruncateTable: "TRUNCATE_TABLE", exp.Transaction: "BEGIN_TRANSACTION",
              exp.Commit: "COMMIT_TRANSACTION", exp.Rollback: "ROLLBACK_TRANSACTION"}
    for kind, name in others.items():
        if isinstance(tree, kind):
            return name
    raise SqlError(f"the fake does not carry out {type(tree).__name__.upper()} statements")


def replace_parameter(node, scope):
    """A query parameter by its value."""
    if isinstance(node, exp.Placeholder):
        if not scope.positional:
            raise SqlError("Query parameters: fewer values than question marks")
        node.replace(scope.positional.pop(0).copy())
        return
    value = scope.parameters.get(node.name.lower())
    if value is None:
        raise SqlError(f"Query parameter '{node.name}' not found")
    node.replace(value.copy())


def replace_system(tree, scope):
    """System variables such as `@@project_id` by their values."""
    for outer in [node for node in tree.find_all(exp.Parameter) if isinstance(node.this, exp.Parameter)]:
        name, node = outer.this.name.lower(), outer
        if isinstance(outer.parent, exp.Dot):
            name, node = f"{name}.{outer.parent.expression.name.lower()}", outer.parent
        if name not in scope.system:
            raise SqlError(f"the fake does not know the system variable @@{name}")
        node.replace(exp.convert(scope.system[name]))


def replace_variables(tree, scope):
    """A script's variables by DuckDB's own."""
    for column in list(tree.find_all(exp.Column)):
        if column.table.lower() in scope.variables and not column.args.get("db"):
            row = exp.func("getvariable", exp.Literal.string(column.table.lower()))
            value = exp.func("struct_extract", row, exp.Literal.string(column.name))
            named = isinstance(column.parent, exp.Select) and column.arg_key == "expressions"
            column.replace(exp.alias_(value, column.name) if named else value)
            continue
        if not column.table and column.name.lower() in scope.variables and isinstance(column.this, exp.Identifier):
            value = exp.func("getvariable", exp.Literal.string(column.name.lower()))
            if isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
                value = exp.alias_(value, column.name)
            column.replace(value)


def take_properties(tree, statement):
    """Takes partitioning, clustering and options out of a CREATE, and keeps what an API answer shows of them."""
    properties = tree.args.get("properties")
    if not isinstance(tree, exp.Create) or properties is None:
        return
    kept = []
    for one in properties.expressions:
        if isinstance(one, exp.PartitionedByProperty):
            statement.partition["timePartitioning"] = partitioning(one.this)
        elif isinstance(one, exp.Cluster) or type(one).__name__ == "ClusterProperty":
            statement.partition["clustering"] = {"fields": [column.name for column in one.expressions]}
        elif isinstance(one, exp.LocationProperty):
            statement.location = one.this.name
        elif isinstance(one, exp.TemporaryProperty):
            statement.temporary = True
            kept.append(one)
        elif isinstance(one, exp.Property) and one.name.lower() == "description":
            statement.partition["description"] = one.args["value"].name
        elif isinstance(one, (exp.LikeProperty, exp.ReturnsProperty)):
            kept.append(one)
    tree.set("properties", exp.Properties(expressions=kept) if kept else None)


def partitioning(tree):
    """How a table is divided, as the API shows it."""
    unit = tree.find(exp.DateTrunc, exp.TimestampTrunc, exp.DatetimeTrunc)
    result = {"type": (unit.args["unit"].name.upper() if unit else "DAY")}
    column = tree.find(exp.Identifier)
    if column is not None and not column.name.startswith("_"):
        result["field"] = column.name
    return result


def name_tables(tree, scope, statement):
    """Makes the names of tables whole, and notes which are read and which is written."""
    made = target_of(tree)
    for table in list(tree.find_all(exp.Table)):
        if isinstance(table.parent, exp.AlterRename) or isinstance(table.parent, exp.UserDefinedFunction):
            continue
        if table.this is not None and not isinstance(table.this, exp.Identifier):
            continue
        if statement.kind.endswith("_SCHEMA"):
            statement.target = (table.catalog or scope.project, table.db, None)
            table.set("catalog", exp.to_identifier(statement.target[0], quoted=True))
            continue
        name = table.name
        if not table.db and (is_cte(table) or name.lower() in scope.temporary or
                             (table is made and statement.temporary)):
            if table is made:
                statement.target, statement.temporary = (None, None, name), True
            continue
        whole = qualify(table, scope)
        if table is made:
            statement.target = whole
        else:
            statement.reads.append(whole)


def qualify(table, scope):
    """One table's whole name."""
    if table.db:
        whole = (table.catalog or scope.project, table.db, table.name)
    elif scope.dataset:
        whole = (*scope.dataset, table.name)
    else:
        raise SqlError(f'Table "{table.name}" must be qualified with a dataset (e.g. dataset.table).')
    if not table.alias and isinstance(table.parent, (exp.From, exp.Join)):
        # A column may still be named by its table alone.
        table.set("alias", exp.TableAlias(this=exp.to_identifier(whole[2], quoted=True)))
    for key, part in zip(("catalog", "db", "this"), whole):
        table.set(key, exp.to_identifier(part, quoted=True))
    return whole


def target_of(tree):
    """The table that a statement writes, makes or removes."""
    if isinstance(tree, exp.TruncateTable):
        return tree.expressions[0]
    if isinstance(tree, exp.Drop):
        return (tree.args.get("tables") or [tree.this])[0]
    if isinstance(tree, (exp.Create, exp.Insert)):
        made = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        return made if isinstance(made, exp.Table) else None
    if isinstance(tree, (exp.Update, exp.Delete, exp.Merge, exp.Alter)):
        return tree.this
    return None


def is_cte(table):
    """Whether a name is that of a WITH around it."""
    node = table.parent
    while node is not None:
        block = node.args.get("with_")
        if block and any(cte.alias.lower() == table.name.lower() for cte in block.expressions):
            return True
        node = node.parent
    return False
