//! What BigQuery's SQL gives on the real program, construct by construct, held against BigQuery's documentation.

use serde_json::{Value, json};

use super::rows;

/// Each expression with its value; they make one query.
#[track_caller]
fn check(expressions: &[(&str, Value)]) {
    let folder = tempfile::tempdir().unwrap();
    let columns: Vec<String> =
        expressions.iter().enumerate().map(|(i, (expression, _))| format!("{expression} as c{i}")).collect();
    let found = rows(folder.path(), &format!("select {}", columns.join(",\n")));
    for (i, (expression, expected)) in expressions.iter().enumerate() {
        assert_eq!(&found[0][format!("c{i}")], expected, "{expression}");
    }
}

/// Each script, which ends with a query, with its rows.
#[track_caller]
fn check_queries(queries: &[(&str, Value)]) {
    let folder = tempfile::tempdir().unwrap();
    for (query, expected) in queries {
        assert_eq!(&rows(folder.path(), query), expected, "{query}");
    }
}

#[test]
fn dates() {
    check(&[
        ("extract(year from date '2022-05-06')", json!(2022)),
        ("extract(dayofweek from date '2022-05-08')", json!(1)),
        ("extract(week from date '2022-01-01')", json!(0)),
        ("extract(isoweek from date '2022-01-01')", json!(52)),
        ("extract(date from timestamp '2022-01-01 10:00:00')", json!("2022-01-01")),
        ("date_trunc(date '2022-05-06', month)", json!("2022-05-01")),
        ("date_trunc(date '2022-05-06', isoweek)", json!("2022-05-02")),
        ("date_trunc(date '2022-05-06', week(monday))", json!("2022-05-02")),
        ("date_add(date '2022-01-31', interval 1 month)", json!("2022-02-28")),
        ("date_sub(date '2022-01-31', interval 2 week)", json!("2022-01-17")),
        ("date_add(date_trunc(date '2022-05-06', month), interval 1 day)", json!("2022-05-02")),
        ("date_diff(date '2022-03-01', date '2022-01-31', month)", json!(2)),
        ("date_diff(date '2022-03-01', date '2022-01-31', day)", json!(29)),
        ("format_date('%Y-%m', date '2022-05-06')", json!("2022-05")),
        ("parse_date('%Y%m%d', '20220506')", json!("2022-05-06")),
        ("parse_date('%d/%m/%Y', '06/05/2022')", json!("2022-05-06")),
        ("last_day(date '2022-02-03')", json!("2022-02-28")),
        ("date(2020, 1, 2)", json!("2020-01-02")),
        ("generate_date_array('2022-01-01', '2022-01-02')", json!(["2022-01-01", "2022-01-02"])),
        (
            "generate_date_array(date '2022-01-01', date '2022-02-01', interval 1 month)",
            json!(["2022-01-01", "2022-02-01"]),
        ),
    ]);
}

#[test]
fn times() {
    check(&[
        ("timestamp_trunc(timestamp '2022-05-06 10:11:12', hour)", json!("2022-05-06 10:00:00+00")),
        (
            "timestamp_add(timestamp '2022-05-06 10:00:00', interval 90 minute)",
            json!("2022-05-06 11:30:00+00"),
        ),
        // Whole hours, where the others count boundaries.
        ("timestamp_diff(timestamp '2022-05-06 10:00:00', timestamp '2022-05-06 09:59:00', hour)", json!(0)),
        (
            "timestamp_diff(timestamp '2022-05-06 10:00:00', timestamp '2022-05-06 09:59:00', second)",
            json!(60),
        ),
        ("datetime_diff(datetime '2022-05-06 10:00:00', datetime '2022-05-06 09:59:00', hour)", json!(1)),
        ("unix_seconds(timestamp '1970-01-02 00:00:00')", json!(86_400)),
        ("timestamp_seconds(86400)", json!("1970-01-02 00:00:00+00")),
        ("format_timestamp('%Y-%m-%d %H', timestamp '2022-01-01 10:00:00')", json!("2022-01-01 10")),
        ("datetime(timestamp '2020-01-01 01:00:00', 'America/New_York')", json!("2019-12-31 20:00:00")),
        ("date(timestamp '2020-01-01 01:00:00', 'America/New_York')", json!("2019-12-31")),
        ("timestamp('2020-01-01 00:00:00', 'America/New_York')", json!("2020-01-01 05:00:00+00")),
    ]);
}

#[test]
fn texts() {
    check(&[
        (r"r'a\nb'", json!(r"a\nb")),
        (r"'a\tb'", json!("a\tb")),
        (r#"'''it's "triple"'''"#, json!(r#"it's "triple""#)),
        (r#""""double "triple" """"#, json!(r#"double "triple" "#)),
        (r#""it's""#, json!("it's")),
        (r"regexp_contains('abc12', r'\d+')", json!(true)),
        (r"regexp_contains('abc', r'\d')", json!(false)),
        (r"regexp_extract('abc12x3', r'\d+')", json!("12")),
        (r"regexp_extract('abc12x3', r'c(\d)')", json!("1")),
        (r"regexp_extract('abc', r'\d')", json!(null)),
        (r"regexp_extract('abc', r'x*')", json!("")),
        (r"regexp_extract('a(b', r'\(b')", json!("(b")),
        (r"regexp_extract('ab', r'(?:a)b')", json!("ab")),
        (r"regexp_extract_all('a1b2', r'[a-z](\d)')", json!(["1", "2"])),
        (r"regexp_replace('a1b2', r'(\d)', r'<\1>')", json!("a<1>b<2>")),
        ("concat('a', concat('b', 'c'))", json!("abc")),
        ("concat('a', null)", json!(null)),
        ("split('a,b', ',')[offset(1)]", json!("b")),
        ("format('%d-%s', 1, 'a')", json!("1-a")),
        ("to_hex(md5('a'))", json!("0cc175b9c0f1b6a831c399e269772661")),
        (r#"json_value('{"a": {"b": "x"}}', '$.a.b')"#, json!("x")),
        ("starts_with('abc', 'ab')", json!(true)),
        ("substr('abcdef', -2)", json!("ef")),
    ]);
}

#[test]
fn numbers_nulls_and_collections() {
    check(&[
        ("safe_cast('x' as int64)", json!(null)),
        ("cast(2.5 as int64)", json!(3)),
        ("ifnull(null, 5)", json!(5)),
        ("safe_divide(1, 0)", json!(null)),
        ("7 / 2", json!(3.5)),
        ("div(7, 2)", json!(3)),
        ("1.5", json!(1.5)),
        ("least(1, null)", json!(null)),
        ("struct(1 as x, 'y' as y)", json!({"x": 1, "y": "y"})),
        ("[1, 2, 3][safe_offset(7)]", json!(null)),
        ("[1, 2, 3][ordinal(1)]", json!(1)),
        ("array_length([1, 2])", json!(2)),
        ("generate_array(0, 10, 5)", json!([0, 5, 10])),
        ("array(select x from unnest([3, 1]) as x order by x)", json!([1, 3])),
        ("2 in unnest([1, 2])", json!(true)),
        ("to_json_string(struct(1 as a))", json!(r#"{"a":1}"#)),
    ]);
}

#[test]
fn queries() {
    check_queries(&[
        (
            "select countif(x > 1) as c, sum(x) as s, string_agg(cast(x as string), '-' order by x desc) as t,\n\
             array_agg(x ignore nulls order by x) as a from unnest([1, null, 3]) as x",
            json!([{"c": 1, "s": 4, "t": "3-1", "a": [1, 3]}]),
        ),
        (
            "select x, row_number() over (order by x desc) as r from unnest([1, 2, 3]) as x qualify r = 1",
            json!([{"x": 3, "r": 1}]),
        ),
        (
            "select lag(x) over (order by x) as l, countif(x > 1) over () as c from unnest([1, 2]) as x order by x",
            json!([{"l": null, "c": 1}, {"l": 1, "c": 1}]),
        ),
        ("select x from unnest([3, null, 1]) as x order by x", json!([{"x": null}, {"x": 1}, {"x": 3}])),
        ("select * except (b) from (select 1 as a, 2 as b)", json!([{"a": 1}])),
        ("select * replace (5 as b) from (select 1 as a, 2 as b)", json!([{"a": 1, "b": 5}])),
        (
            "with a as (select 1 as x), b as (select x + 1 as y from a) select * from a cross join b",
            json!([{"x": 1, "y": 2}]),
        ),
        (
            "select t.id, x from (select 1 as id, [10, 20] as l) as t, unnest(t.l) as x order by x",
            json!([{"id": 1, "x": 10}, {"id": 1, "x": 20}]),
        ),
        (
            "select s.a, s.b from unnest([struct(1 as a, 'x' as b), struct(2, 'y')]) as s order by s.a",
            json!([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        ),
        (
            "select d from unnest(generate_date_array('2022-01-01', '2022-01-02')) as d order by d",
            json!([{"d": "2022-01-01"}, {"d": "2022-01-02"}]),
        ),
        ("select 1 as a union distinct select 1", json!([{"a": 1}])),
        ("select x from unnest([1, 2]) as x where false", json!([])),
    ]);
}

#[test]
fn definitions_and_changes() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
        create or replace table a-b.d.t (
            id int64, category string, lastdate date
        )
        partition by lastdate
        cluster by category;
        insert into a-b.d.t (id, category, lastdate) values (1, 'a', '2020-01-01'), (2, 'b', date '2021-01-01');
        create table `a-b.d.u` partition by lastdate as select * from a-b.d.t where extract(year from lastdate) = 2021;
        update a-b.d.u set id = 3 where true;
        insert a-b.d.u (id) values (1);
        merge into a-b.d.t as t using a-b.d.u as u on t.id = u.id
        when matched then update set category = 'merged'
        when not matched then insert (id, category) values (u.id, u.category);
        delete a-b.d.t where id = 2;
        create view d.v as select id, category from d.t;
        create temp function double(x int64) as (x * 2);
        insert into d.t (id, category) select double(50), 'temp';
        drop table d.u;
    ";
    let outcome = super::run(folder.path(), script, json!({})).unwrap();
    assert_eq!(outcome.metrics["statements"], 11);
    // 2 inserted, 1 of the table that is made from a query aside, 1 updated, 1 inserted, 2 merged, 1 deleted, 1 inserted.
    assert_eq!(outcome.metrics["rows_affected"], 8);
    let left = rows(folder.path(), "select * from p.d.v order by id");
    let expected = json!([
        {"id": 1, "category": "merged"}, {"id": 3, "category": "b"}, {"id": 100, "category": "temp"},
    ]);
    assert_eq!(left, expected);
}
