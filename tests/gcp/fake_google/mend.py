"""What `sqlglot` reads otherwise than BigQuery means it, or DuckDB does otherwise than BigQuery."""

from sqlglot import exp

from .script import SqlError

# DuckDB's DECIMAL alone has three digits behind the point, BigQuery's NUMERIC nine.
NUMERIC = {exp.DataType.Type.DECIMAL, exp.DataType.Type.BIGDECIMAL}
# These give a DATE in BigQuery, and DuckDB makes a time of it.
DATES = (exp.DateAdd, exp.DateSub, exp.DateTrunc)


def check(kind, tree, leaf):
    """What BigQuery demands and DuckDB does not; raises `SqlError`."""
    if isinstance(tree, (exp.Update, exp.Delete)) and not tree.args.get("where"):
        raise SqlError(f"{kind} must have a WHERE clause at [{leaf.line}:{leaf.col}]")


def before(tree):
    """Changes that come before names are made whole."""
    if isinstance(tree, exp.Delete) and not tree.this and tree.args.get("tables"):
        tree.set("this", tree.args["tables"][0])
        tree.set("tables", None)
    if isinstance(tree, exp.Create) and tree.args.get("clone"):
        tree.set("expression", exp.select("*").from_(tree.args["clone"].this))
        tree.set("clone", None)
    for insert in tree.find_all(exp.Insert):
        if isinstance(insert.this, exp.Var) and insert.this.name.upper() == "ROW":
            # INSERT ROW is INSERT in DuckDB.
            insert.set("this", None)
    datasets = {table.db.lower() for table in tree.find_all(exp.Table) if table.db}
    for column in tree.find_all(exp.Column):
        # Of `dataset.table.column` the table is enough, and is what its alias will be; `table.struct.field` stays.
        if column.args.get("db") and column.args["db"].name.lower() in datasets:
            column.set("db", None)
            column.set("catalog", None)
    return tree


def after(tree):
    """Changes that come last."""
    for data_type in list(tree.find_all(exp.DataType)):
        if data_type.this in NUMERIC and not data_type.expressions:
            data_type.replace(exp.DataType.build("DECIMAL(38, 9)", dialect="duckdb"))
    return tree.transform(change)


def change(node):
    """One part of a statement, changed where it must be."""
    if isinstance(node, exp.Div) and not node.args.get("safe"):
        return guard(node)
    if isinstance(node, DATES) and not isinstance(node.parent, exp.Cast):
        return exp.cast(node.copy(), "date")
    if isinstance(node, exp.Format):
        return exp.Anonymous(this="printf", expressions=[node.this, *node.expressions])
    return node


def guard(node):
    """Division by zero is an error in BigQuery and NULL in DuckDB."""
    divisor = node.expression
    if isinstance(divisor, exp.Literal) and float(divisor.this or 0) != 0:
        return node
    zero = exp.EQ(this=divisor.copy(), expression=exp.Literal.number(0))
    fail = exp.Anonymous(this="error", expressions=[exp.Literal.string("division by zero")])
    node.set("expression", exp.Case(ifs=[exp.If(this=zero, true=fail)], default=divisor.copy()))
    return node
