//! What is refused, with its place; names and parameters. What the SQL means is tested on the real program.

use polyglot_sql::DialectType;
use serde_json::{Value, json};

use super::*;

fn all(text: &str, params: Value) -> Result<Vec<Translated>, Problem> {
    let script = Script::new(text, "s", DialectType::BigQuery)?;
    let Value::Object(params) = params else { panic!("parameters are an object") };
    script.statements.iter().map(|statement| translate(&script, statement, &params)).collect()
}

#[track_caller]
fn one(text: &str) -> String {
    let mut all = all(text, json!({})).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0).sql
}

#[track_caller]
fn problem(text: &str) -> (String, (usize, usize)) {
    let problem = all(text, json!({})).map(|all| panic!("{text} became {all:?}")).unwrap_err();
    (problem.message, problem.place)
}

#[test]
fn a_project_is_left_out_wherever_a_table_is_named() {
    for (bigquery, duckdb) in [
        ("select * from `p-x.d.t`", r#"SELECT * FROM "d"."t""#),
        ("select * from `p`.d.`t` as a", r#"SELECT * FROM "d"."t" AS a"#),
        ("select a.x.y from p.d.t a, p.d.u b", r#"SELECT a.x.y FROM "d"."t" AS a, "d"."u" AS b"#),
        (
            "insert into my-project-1.d.t (a) select a from my-project-1.d.u",
            r#"INSERT INTO "d"."t" (a) SELECT a FROM "d"."u""#,
        ),
        ("insert p.d.t values (1)", r#"INSERT INTO "d"."t" VALUES (1)"#),
        (
            "update p.d.t set a = 1 where b in (select b from p.d.u)",
            r#"UPDATE "d"."t" SET a = 1 WHERE b IN (SELECT b FROM "d"."u")"#,
        ),
        ("delete a-b.d.t where true", r#"DELETE FROM "d"."t" WHERE TRUE"#),
        ("drop table if exists p.d.t", r#"DROP TABLE IF EXISTS "d"."t""#),
        ("drop schema if exists p.d cascade", r#"DROP SCHEMA IF EXISTS "d" CASCADE"#),
        ("truncate table p.d.t", r#"TRUNCATE TABLE "d"."t""#),
        ("create view p.d.v as select 1 as a", r#"CREATE VIEW "d"."v" AS SELECT 1 AS a"#),
    ] {
        assert_eq!(one(bigquery), duckdb);
    }
}

#[test]
fn what_looks_like_a_table_elsewhere_stays() {
    for (bigquery, duckdb) in [
        ("select extract(year from a.b.c) from t a", r#"SELECT EXTRACT(YEAR FROM a.b.c) FROM "t" AS a"#),
        ("select a-b.c from t", r#"SELECT a - b.c FROM "t""#),
        ("select a is distinct from b.c.d from t", r#"SELECT a IS DISTINCT FROM b.c.d FROM "t""#),
        ("select 'from p.d.t' -- from p.d.t\nfrom t", r#"SELECT 'from p.d.t' /* from p.d.t */ FROM "t""#),
    ] {
        assert_eq!(one(bigquery), duckdb);
    }
}

#[test]
fn only_a_statement_that_makes_something_needs_its_dataset() {
    let needs = |text| all(text, json!({})).unwrap().remove(0).needs;
    assert_eq!(needs("create or replace table p.d.t (a int64)").as_deref(), Some("d"));
    assert_eq!(needs("create view if not exists d.t as select * from e.u").as_deref(), Some("d"));
    assert_eq!(needs("create table t (a int64)"), None);
    assert_eq!(needs("insert into p.d.t (a) select 1"), None);
    assert_eq!(needs("drop table p.d.t"), None);
}

#[test]
fn partitions_clusters_and_options_are_left_out() {
    let text = "create or replace table p.d.t (\n  id int64 not null options(description='x, (y)'), day date\n)\n\
                partition by date_trunc(day, month)\ncluster by id\noptions(labels=[('a', 'b')])";
    assert_eq!(one(text), r#"CREATE OR REPLACE TABLE "d"."t" (id BIGINT NOT NULL, day DATE)"#);
    // What would be changed anywhere else goes with the options.
    let text = "create table d.t (a int64) options(description=concat('a', 'b'), \
                expiration_timestamp=timestamp(date_add(current_date(), interval 1 day)))";
    assert_eq!(one(text), r#"CREATE TABLE "d"."t" (a BIGINT)"#);
}

#[test]
fn a_column_that_is_called_like_a_part_of_a_date_is_a_column() {
    for (bigquery, duckdb) in [
        ("create table `d.t` (a int64, week int64)", r#"CREATE TABLE "d"."t" (a BIGINT, week BIGINT)"#),
        ("insert into t (a, week) select 1, 2", r#"INSERT INTO "t" (a, week) SELECT 1, 2"#),
        ("select coalesce(a, isoweek) from t", r#"SELECT COALESCE(a, isoweek) FROM "t""#),
        (
            "select sum(a) over (partition by a, week) from t",
            r#"SELECT SUM(a) OVER (PARTITION BY a, week) FROM "t""#,
        ),
    ] {
        assert_eq!(one(bigquery), duckdb);
    }
}

#[test]
fn scripting_is_refused_and_named() {
    for (text, head) in [
        ("declare x int64 default 5", "DECLARE"),
        ("set x = 5", "SET"),
        ("if true then select 1; end if", "IF"),
        ("begin select 1; end", "BEGIN SELECT"),
        ("execute immediate 'select 1'", "EXECUTE"),
        ("export data options(uri='gs://x') as select 1", "EXPORT"),
        ("create external table d.t options(uris=['x'])", "CREATE EXTERNAL"),
        ("create or replace procedure d.p() begin select 1; end", "CREATE OR"),
    ] {
        let (message, place) = problem(text);
        assert!(message.starts_with(&format!("statements that begin with `{head}` are not")), "{message}");
        assert_eq!(place, (1, 1));
    }
    for text in ["begin", "begin transaction", "commit transaction", "rollback"] {
        one(text);
    }
}

#[test]
fn what_would_mean_something_else_is_refused_where_it_stands() {
    for (text, column, part) in [
        ("select x from unnest([1]) as x with offset as o", 32, "`with offset`"),
        ("select date_trunc(d, week) from t", 8, "`week(monday)`"),
        ("select last_day(d, year) from t", 8, "months only"),
        ("select safe.substr(a, 0) from t", 8, "`safe.`"),
        ("select @@x", 8, "`@@`"),
        ("select extract(hour from t at time zone 'Asia/Tokyo') from t", 28, "`at time zone`"),
        ("select * from d.INFORMATION_SCHEMA.TABLES", 15, "INFORMATION_SCHEMA"),
        ("select * from `p.d.t_*`", 15, "name each of them"),
        ("select * from a.b.c.d", 15, "too many parts"),
        ("select f(1", 9, "not closed"),
        ("create temp function f() returns int64 language js as 'x'", 40, "other languages"),
    ] {
        let (message, place) = problem(text);
        assert!(message.contains(part), "{message}");
        assert_eq!(place, (1, column), "{text}");
    }
}

#[test]
fn a_syntax_error_is_placed_in_the_script_as_it_was_written() {
    // The names become shorter and the function's name longer before it is found.
    let text = "select 1;\n\nselect regexp_contains(a, 'é')\nfrom `my-project.d.t` frm where where";
    assert_eq!(problem(text).1, (4, 33));
    assert_eq!(problem("select 'a").0, "unterminated string");
}

#[test]
fn parameters_become_literals() {
    let params = json!({
        "t": "it's \\ \"x\"\n-- @n", "n": -5, "f": 1.5, "b": true, "z": null, "l": ["a", "b"], "o": {"k": 1},
    });
    let sql =
        all("select @t, 1-@N, @f, @b, @z, @l, @o, '@t', \"@t\" -- @t\n, 1", params).unwrap().remove(0).sql;
    assert_eq!(
        sql,
        "SELECT 'it''s \\ \"x\"\n-- @n', 1 - (-5), (1.5), TRUE, NULL, ['a', 'b'], {'k': (1)}, '@t', '@t' /* @t */, 1"
    );
}

#[test]
fn a_parameter_without_a_value_is_named() {
    let (message, place) = problem("select 1,\n  @day");
    insta::assert_snapshot!(message, @"the query parameter `@day` gets no value: give the task a parameter `day`");
    assert_eq!(place, (2, 3));
    let null = all("select @x", json!({"x": "a\0"})).unwrap_err();
    insta::assert_snapshot!(null.message, @"the value of the query parameter `@x` cannot be written in SQL");
}
