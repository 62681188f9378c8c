//! How scripts are cut, compared with what SQLite itself does where that can be.

use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::fallible_iterator::FallibleIterator as _;

use super::*;

fn cut(sql: &str, dialect: Dialect) -> Vec<&str> {
    Script::new(sql, "s", dialect).statements.iter().map(|statement| statement.sql).collect()
}

fn one(sql: &str) -> Statement<'_> {
    let script = Script::new(sql, "s", Dialect::Postgres);
    assert_eq!(script.statements.len(), 1, "{sql}");
    script.statements[0]
}

#[test]
fn a_statement_ends_at_a_semicolon_that_nothing_hides() {
    let sql = "; select ';' ;;\n-- only a comment;\n\nselect 2 -- no ; here\n;/* end */";
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        assert_eq!(cut(sql, dialect), ["select ';'", "-- only a comment;\n\nselect 2 -- no ; here"]);
        assert!(cut(" ;; -- nothing\n", dialect).is_empty());
        assert_eq!(cut("\u{feff}select 1", dialect), ["select 1"]);
    }
}

#[test]
fn a_sqlite_trigger_is_one_statement() {
    let trigger = "create temp trigger t after insert on a begin update a set b = case when 1 then 2 end; delete from c; end";
    assert_eq!(cut(&format!("{trigger}; select 1"), Dialect::Sqlite), [trigger, "select 1"]);
    assert_eq!(cut("create table trigger_(a); end", Dialect::Sqlite), ["create table trigger_(a)", "end"]);
}

#[test]
fn bodies_of_functions_and_rules_stay_whole_in_postgresql() {
    for whole in [
        "create function f() returns int language sql begin atomic select 1; select case when true then 2 end; end",
        "create or replace procedure p() as $x$ begin a; b; end $x$ language plpgsql",
        "create rule r as on insert to a do (insert into b values (1); insert into c values (2))",
        "do $$ begin perform 1; end $$",
    ] {
        assert_eq!(cut(&format!("{whole};\nbegin; end"), Dialect::Postgres), [whole, "begin", "end"]);
    }
}

#[test]
fn places_count_lines_and_characters_of_the_script() {
    let script = Script::new("select 1;\n\n  -- why\n  sélect é;x", "local.b.f.sql.s", Dialect::Sqlite);
    let second = &script.statements[1];
    assert_eq!(second.place(None), (4, 3));
    let offset = second.sql.find('é').unwrap() + "élect ".len();
    assert_eq!(
        script.locate(second, Some(offset)),
        "line 4, column 10 of local.b.f.sql.s (statement 2 of 3)"
    );
    assert_eq!(script.statements[2].place(None), (4, 12));
    assert_eq!(Script::new("\n x", "s", Dialect::Sqlite).locate(&one("\n x"), None), "line 2, column 2 of s");
}

#[test]
fn the_verb_of_a_query_with_ctes_is_that_of_its_main_part() {
    assert_eq!(
        one("with a as (select 1), b as (delete from x returning *) insert into y table b").verb(),
        "INSERT"
    );
    assert_eq!(
        one("with recursive a as (insert into x select 1 returning *) select * from a").verb(),
        "SELECT"
    );
    assert_eq!(one("/* hint */ Update x set a = 1").verb(), "UPDATE");
}

#[test]
fn transactions_are_recognised_and_savepoints_are_not() {
    for begin in ["begin", "BEGIN IMMEDIATE", "start transaction read only", "commit and chain"] {
        assert_eq!(one(begin).control(), Some(Control::Begin), "{begin}");
    }
    for end in ["commit", "end", "rollback work", "abort", "commit and no chain", "prepare transaction 'x'"] {
        assert_eq!(one(end).control(), Some(Control::End), "{end}");
    }
    for neither in
        ["rollback to a", "rollback transaction to savepoint a", "savepoint a", "prepare x as select 1"]
    {
        assert_eq!(one(neither).control(), None, "{neither}");
    }
}

#[test]
fn a_transaction_that_is_left_open_is_found() {
    let open =
        |sql: &str| Script::new(sql, "s", Dialect::Sqlite).left_open().map(|statement| statement.number);
    assert_eq!(open("begin; select 1; commit; begin; select 2"), Some(4));
    assert_eq!(open("begin; select 1; rollback to a"), Some(1));
    assert_eq!(open("begin; commit; select 1"), None);
}

#[test]
fn a_summary_is_short_and_hides_literals() {
    let secret = one("create user  ann -- x\n password 'hunter2' /* y */ valid until $$tomorrow$$");
    assert_eq!(secret.summary(), "create user ann password '…' valid until '…'");
    let long = format!("select {}", "é + ".repeat(40));
    assert_eq!(one(&long).summary().chars().count(), 61);
}

/// How many statements SQLite finds, and where an error stops it.
fn sqlite_counts(connection: &Connection, sql: &str) -> Option<usize> {
    let mut batch = rusqlite::Batch::new(connection, sql);
    let mut count = 0;
    while let Some(mut statement) = batch.next().ok()? {
        drop(statement.raw_query().next());
        count += 1;
    }
    Some(count)
}

/// Where a line and column of an ASCII text are, in bytes.
fn offset(text: &str, (line, column): (usize, usize)) -> usize {
    text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>() + column - 1
}

proptest! {
    #[test]
    fn sqlite_cuts_a_script_in_the_same_places(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("select 1"), Just("select ';', 'it''s' "), Just("select 1 as [;]"), Just("select 1 as \"a;\""),
                Just("select 1 as `;`"), Just("-- ;\n"), Just("/* ; */"), Just(";"), Just(";\n"), Just(" "),
                Just("select case when 1 then 2 end"), Just("explain select 1"), Just("select x'00'"),
                Just("create temp trigger if not exists t after insert on a begin select 1; select case 1 when 1 then 2 end; end"),
                Just("end"), Just("begin"),
            ],
            0..12,
        )
    ) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("create table a(b)").unwrap();
        let sql = pieces.concat();
        if let Some(count) = sqlite_counts(&connection, &sql) {
            prop_assert_eq!(cut(&sql, Dialect::Sqlite).len(), count, "{}", sql);
        }
    }

    #[test]
    fn nothing_but_semicolons_comments_and_space_is_lost(sql in r"([a-z'$();\n ]|--|/\*|\*/|begin |end ){0,40}") {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            let only_semicolons = |text: &str| Tokens::new(text, dialect).all(|token| &text[token.start..token.end] == ";");
            let mut end = 0;
            for statement in Script::new(&sql, "s", dialect).statements {
                let start = offset(&sql, statement.start);
                prop_assert!(only_semicolons(&sql[end..start]));
                prop_assert!(sql[start..].starts_with(statement.sql));
                end = start + statement.sql.len();
            }
            prop_assert!(only_semicolons(&sql[end..]));
        }
    }
}
